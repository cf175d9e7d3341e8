//! Options by name, as all macros take them: `on = &redis, blocking = false`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, Lit, Path, Result, Token};

/// What can be said about how a lock is taken.
#[derive(Default)]
pub(crate) struct Options {
    on: Option<Given<Expr>>,
    blocking: Option<Given<Expr>>,
    wait: Option<Given<Expr>>,
    ttl: Option<Given<Expr>>,
    label: Option<Given<Expr>>,
    name: Option<Given<Expr>>,
    refresh: Option<Given<Expr>>,
    held: Option<Given<Ident>>,
    krate: Option<Given<Path>>,
}

/// The value of an option, and its name for messages that point at it.
struct Given<T> {
    key: Ident,
    value: T,
}

/// Whether locks are waited for by blocking or by awaiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Blocking,
    Async,
}

impl Options {
    /// Parses the rest of the arguments of a macro, which has these options.
    pub(crate) fn parse(input: ParseStream<'_>, of: &str, allowed: &[&str]) -> Result<Self> {
        let mut options = Self::default();
        while !input.is_empty() {
            let behind =
                format!("only options can stand here, {}; all else stands before them", list(allowed));
            if !input.peek(Ident::peek_any) {
                return Err(input.error(behind));
            }
            let is_option = is_option(input);
            let key = input.call(Ident::parse_any)?;
            let message = match allowed.iter().any(|option| key == option) {
                true if is_option => None,
                true => Some(format!("an option needs a value: `{key} = ..`")),
                false if is_option => Some(format!("{of} has no option `{key}`; it has {}", list(allowed))),
                false => Some(behind),
            };
            if let Some(message) = message {
                return Err(Error::new(key.span(), message));
            }
            input.parse::<Token![=]>()?;
            options.set(key, input)?;
            comma(input)?;
        }
        options.check()?;
        Ok(options)
    }

    fn set(&mut self, key: Ident, input: ParseStream<'_>) -> Result<()> {
        let given = match key.to_string().as_str() {
            "held" => {
                let message = "`held` is what the body calls the held lock: `held = proof`";
                let name = input.parse().map_err(|error| Error::new(error.span(), message))?;
                return set(&mut self.held, key, name);
            }
            "crate" => return set(&mut self.krate, key, input.call(Path::parse_mod_style)?),
            "on" => &mut self.on,
            "blocking" => &mut self.blocking,
            "wait" => &mut self.wait,
            "ttl" => &mut self.ttl,
            "label" => &mut self.label,
            "name" => &mut self.name,
            _ => &mut self.refresh,
        };
        set(given, key, ungrouped(input.parse()?))
    }

    /// Finds what the compiler would not understand, or would explain less well.
    fn check(&self) -> Result<()> {
        for given in [&self.wait, &self.ttl].into_iter().flatten() {
            if let Expr::Lit(literal) = &given.value {
                let key = &given.key;
                let message = format!("`{key}` is a `Duration`, such as `{key} = Duration::from_secs(5)`");
                return Err(Error::new(literal.span(), message));
            }
        }
        if let Some(Given { value: Expr::Lit(literal), .. }) = &self.name
            && !matches!(&literal.lit, Lit::Str(text) if !text.value().is_empty())
        {
            return Err(Error::new(literal.span(), "`name` is a text, such as `name = \"audit\"`"));
        }
        if let Some(Given { value: Expr::Lit(literal), .. }) = &self.blocking
            && !matches!(literal.lit, Lit::Bool(_))
        {
            return Err(Error::new(literal.span(), "`blocking` is `true` or `false`"));
        }
        if let (Some(blocking), Some(_)) = (&self.blocking, &self.wait)
            && !is_true(&blocking.value)
        {
            let message = "`wait` waits for the lock, and `blocking = false` does not: leave one of them out";
            return Err(Error::new(blocking.key.span(), message));
        }
        match self.refresh.as_ref().map(|given| &given.value) {
            Some(Expr::Closure(closure)) => {
                let message = "`refresh` is what is done once the lock is held, not a closure: \
                               `refresh = order.reload(&db)`";
                Err(Error::new(closure.inputs_begin.span(), message))
            }
            Some(Expr::Try(tried)) => {
                let message = "leave the `?` out: if reloading fails, the lock is released and the error \
                               is what the lock's would be";
                Err(Error::new(tried.question_token.span(), message))
            }
            _ => Ok(()),
        }
    }

    /// The path of the crate `tenure`.
    pub(crate) fn krate(&self) -> TokenStream {
        self.krate.as_ref().map_or_else(|| quote!(::tenure), |given| given.value.to_token_stream())
    }

    /// What replaces the model in a record's name.
    pub(crate) fn name(&self) -> Option<&Expr> {
        self.name.as_ref().map(|given| &given.value)
    }

    /// What reloads the record.
    pub(crate) fn refresh(&self) -> Option<&Expr> {
        self.refresh.as_ref().map(|given| &given.value)
    }

    /// What the body of a function calls the lock that is held for it.
    pub(crate) fn held(&self) -> Option<&Ident> {
        self.held.as_ref().map(|given| &given.value)
    }

    /// Evaluates the name and the options, each once, and makes the local `lock` of them: a lock that is
    /// not held yet, or an error.
    pub(crate) fn lock(&self, style: Style, name: &TokenStream) -> TokenStream {
        let duration = quote!(::core::time::Duration);
        let waiting = match (&self.wait, &self.blocking) {
            (Some(wait), _) => wait.evaluated(&duration),
            (None, Some(blocking)) => blocking.evaluated(&quote!(bool)),
            (None, None) => TokenStream::new(),
        };
        let ttl = self.ttl.as_ref().map(|ttl| ttl.evaluated(&duration));
        let label = self.label.as_ref().map(|label| {
            let (local, value) = (label.local(), &label.value);
            quote!(let #local: ::std::boxed::Box<str> = ::core::convert::Into::into(#value);)
        });
        let optional = |given: &Option<Given<Expr>>| match given {
            Some(given) => {
                let local = given.local();
                quote!(::core::option::Option::Some(#local))
            }
            None => quote!(::core::option::Option::None),
        };
        let (given_ttl, given_label) = (optional(&self.ttl), optional(&self.label));
        let krate = self.krate();
        let support = match style {
            Style::Blocking => quote!(#krate::__macros),
            Style::Async => quote!(#krate::__macros::aio),
        };
        let lock = match &self.on {
            Some(on) => {
                let on = &on.value;
                quote_spanned!(Span::mixed_site()=> lock(#on, name, #given_ttl, #given_label))
            }
            None => quote_spanned!(Span::mixed_site()=> lock_of_default(name, #given_ttl, #given_label)),
        };
        quote_spanned! {Span::mixed_site()=>
            let name = #name;
            #waiting
            #ttl
            #label
            let lock = #support::#lock;
        }
    }

    /// An expression that takes the local `lock`.
    pub(crate) fn acquired(&self, style: Style) -> TokenStream {
        let r#await = style.r#await();
        let acquired = match (&self.wait, &self.blocking) {
            (Some(wait), _) => {
                let wait = wait.local();
                quote_spanned!(Span::mixed_site()=> lock.acquire_for(#wait) #r#await)
            }
            (None, Some(blocking)) => {
                let blocking = blocking.local();
                quote_spanned! {Span::mixed_site()=>
                    if #blocking { lock.acquire() #r#await } else { lock.try_acquire() #r#await }
                }
            }
            (None, None) => quote_spanned!(Span::mixed_site()=> lock.acquire() #r#await),
        };
        quote_spanned! {Span::mixed_site()=>
            match lock {
                ::core::result::Result::Ok(lock) => #acquired,
                ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
            }
        }
    }
}

impl Given<Expr> {
    /// Evaluates it into a local of its name, of a type that a wrong value is held against.
    fn evaluated(&self, ty: &TokenStream) -> TokenStream {
        let (local, value) = (self.local(), &self.value);
        // The type stands where the option's name does, so that a message points there.
        let ty = respan(ty, self.key.span());
        quote!(let #local: #ty = #value;)
    }

    fn local(&self) -> Ident {
        Ident::new(&self.key.to_string(), Span::mixed_site())
    }
}

impl Style {
    /// What stands behind a future.
    pub(crate) fn r#await(self) -> TokenStream {
        match self {
            Self::Blocking => TokenStream::new(),
            Self::Async => quote!(.await),
        }
    }
}

fn set<T>(given: &mut Option<Given<T>>, key: Ident, value: T) -> Result<()> {
    if given.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    *given = Some(Given { key, value });
    Ok(())
}

/// An expression as it was written: a `macro_rules!` macro wraps what it is given.
pub(crate) fn ungrouped(value: Expr) -> Expr {
    match value {
        Expr::Group(group) => ungrouped(*group.expr),
        Expr::Paren(paren) => ungrouped(*paren.expr),
        other => other,
    }
}

/// Whether an option by name comes next.
pub(crate) fn is_option(input: ParseStream<'_>) -> bool {
    input.peek(Ident::peek_any) && input.peek2(Token![=]) && !input.peek2(Token![==])
}

/// Steps over a comma, unless that was all.
pub(crate) fn comma(input: ParseStream<'_>) -> Result<()> {
    if !input.is_empty() {
        input.parse::<Token![,]>()?;
    }
    Ok(())
}

fn respan(tokens: &TokenStream, span: Span) -> TokenStream {
    let moved = tokens.clone().into_iter().map(|mut token| {
        token.set_span(Span::mixed_site().located_at(span));
        token
    });
    moved.collect()
}

fn is_true(value: &Expr) -> bool {
    matches!(value, Expr::Lit(literal) if matches!(&literal.lit, Lit::Bool(value) if value.value))
}

fn list(options: &[&str]) -> String {
    options.iter().map(|option| format!("`{option}`")).collect::<Vec<_>>().join(", ")
}
