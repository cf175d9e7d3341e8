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
            if !input.peek(Ident::peek_any) {
                return Err(input.error(format!("only options can stand here: {}", list(allowed))));
            }
            let key = input.call(Ident::parse_any)?;
            if !allowed.iter().any(|option| key == option) {
                let message = format!("{of} has no option `{key}`; it has {}", list(allowed));
                return Err(Error::new(key.span(), message));
            }
            if !input.peek(Token![=]) || input.peek(Token![==]) {
                return Err(Error::new(key.span(), format!("an option needs a value: `{key} = ..`")));
            }
            input.parse::<Token![=]>()?;
            options.set(key, input)?;
            if !input.is_empty() {
                input.parse::<Token![,]>()?;
            }
        }
        options.check()?;
        Ok(options)
    }

    fn set(&mut self, key: Ident, input: ParseStream<'_>) -> Result<()> {
        let given = match key.to_string().as_str() {
            "held" => return set(&mut self.held, key, input.parse()?),
            "crate" => return set(&mut self.krate, key, input.call(Path::parse_mod_style)?),
            "on" => &mut self.on,
            "blocking" => &mut self.blocking,
            "wait" => &mut self.wait,
            "ttl" => &mut self.ttl,
            "label" => &mut self.label,
            "name" => &mut self.name,
            _ => &mut self.refresh,
        };
        set(given, key, input.parse()?)
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

    /// Where the functions are that generated code calls.
    pub(crate) fn support(&self, style: Style) -> TokenStream {
        let krate = self.krate();
        match style {
            Style::Blocking => quote!(#krate::__macros),
            Style::Async => quote!(#krate::__macros::aio),
        }
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

    /// Evaluates them, each once, into the locals `store` and `options`.
    pub(crate) fn evaluated(&self, style: Style) -> TokenStream {
        let (krate, support) = (self.krate(), self.support(style));
        let store = match &self.on {
            Some(on) => {
                let on = &on.value;
                quote!(store(#on))
            }
            None => quote!(default_store()),
        };
        let duration = quote!(::core::time::Duration);
        let waiting = match (&self.wait, &self.blocking) {
            (Some(wait), _) => {
                let wait = wait.evaluated(&duration);
                quote!(#krate::__macros::Waiting::For(#wait))
            }
            (None, Some(blocking)) => {
                let blocking = blocking.evaluated(&quote!(bool));
                quote!(#krate::__macros::Waiting::blocking(#blocking))
            }
            (None, None) => quote!(#krate::__macros::Waiting::Always),
        };
        let ttl = optional(self.ttl.as_ref().map(|ttl| ttl.evaluated(&duration)));
        let label = optional(self.label.as_ref().map(|label| {
            let label = &label.value;
            quote!(::core::convert::Into::into(#label))
        }));
        quote_spanned! {Span::mixed_site()=>
            let store = #support::#store;
            let options = #krate::__macros::Options { waiting: #waiting, ttl: #ttl, label: #label };
        }
    }
}

impl Given<Expr> {
    /// The value, of a type that a wrong value is held against.
    fn evaluated(&self, ty: &TokenStream) -> TokenStream {
        let (key, value) = (self.key.span(), &self.value);
        let local = Ident::new("value", Span::mixed_site());
        // The type stands where the option's name does, so that a message points there.
        let ty = respan(ty, key);
        quote!({ let #local: #ty = #value; #local })
    }
}

fn set<T>(given: &mut Option<Given<T>>, key: Ident, value: T) -> Result<()> {
    if given.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    *given = Some(Given { key, value });
    Ok(())
}

fn optional(value: Option<TokenStream>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
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
