//! Locks on records: `lock_model!` and `#[lock_model]`.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, Index, LitInt, LitStr, Member, Result, Token};

use crate::function::Function;
use crate::options::{Options, Style, comma, is_option};

const OPTIONS: &[&str] = &["on", "blocking", "wait", "ttl", "name", "refresh", "label", "crate"];
const ATTRIBUTE_OPTIONS: &[&str] =
    &["on", "blocking", "wait", "ttl", "name", "refresh", "label", "held", "crate"];

/// The arguments of `lock_model!`.
pub(crate) struct Call {
    record: Expr,
    fields: Fields,
    options: Options,
}

impl Call {
    pub(crate) fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.is_empty() {
            return Err(Error::new(Span::call_site(), "name the record to lock: `lock_model!(order)`"));
        }
        if is_option(input) {
            return Err(input.error("name the record first: `lock_model!(order, on = &store)`"));
        }
        let record = input.parse()?;
        comma(input)?;
        let fields = Fields::parse(input)?;
        let options = Options::parse(input, "`lock_model!`", OPTIONS)?;
        Ok(Self { record, fields, options })
    }

    pub(crate) fn expand(&self, style: Style) -> TokenStream {
        let Self { record, fields, options } = self;
        let lock = options.lock(style, &fields.name(&quote!(#record), options));
        let acquired = options.acquired(style);
        let held = match (style, options.refresh()) {
            (Style::Blocking, None) => acquired,
            (Style::Async, None) => quote!(async move { #acquired }),
            (Style::Blocking, Some(refresh)) => reloaded(refresh, options, style, &acquired),
            (Style::Async, Some(refresh)) => {
                let acquiring = Ident::new("acquiring", Span::mixed_site());
                let reloaded = reloaded(refresh, options, style, &quote!(#acquiring.await));
                // What is awaited is moved in, and what the reloading names is borrowed.
                quote! {
                    let #acquiring = async move { #acquired };
                    async { #reloaded }
                }
            }
        };
        quote!({ #lock #held })
    }
}

/// What was acquired, if the record can be reloaded under it.
fn reloaded(refresh: &Expr, options: &Options, style: Style, acquired: &TokenStream) -> TokenStream {
    let (krate, r#await) = (options.krate(), style.r#await());
    // What is wrong with its error is said where it stands.
    let reloaded = Ident::new("reloaded", Span::mixed_site().located_at(refresh.span()));
    quote_spanned! {Span::mixed_site()=>
        let #reloaded = match #acquired {
            ::core::result::Result::Ok(held) => {
                let refreshed: ::core::result::Result<_, _> = #refresh;
                ::core::result::Result::Ok(match refreshed {
                    ::core::result::Result::Ok(_) => ::core::result::Result::Ok(held),
                    ::core::result::Result::Err(error) => {
                        ::core::mem::drop(held.release() #r#await);
                        ::core::result::Result::Err(error)
                    }
                })
            }
            ::core::result::Result::Err(error) => ::core::result::Result::Err(error),
        };
        #krate::__macros::reloaded(#reloaded)
    }
}

/// The arguments of `#[lock_model]`.
pub(crate) struct OnMethod {
    fields: Fields,
    options: Options,
}

impl OnMethod {
    pub(crate) fn parse(input: ParseStream<'_>) -> Result<Self> {
        let fields = Fields::parse(input)?;
        let options = Options::parse(input, "`#[lock_model]`", ATTRIBUTE_OPTIONS)?;
        Ok(Self { fields, options })
    }

    pub(crate) fn expand(&self, function: &Function) -> Result<TokenStream> {
        let this = function.this().ok_or_else(|| {
            let message = "`#[lock_model]` locks `self`, and this function has none; use \
                           `#[tenure::lock(\"..\")]`, or `lock_model!` inside of it";
            Error::new(function.name().span(), message)
        })?;
        function.check()?;
        let name = self.fields.name(&this, &self.options);
        Ok(function.wrapped(&name, &self.options))
    }
}

/// The fields to lock by; without any, it is the record's key.
struct Fields(Vec<Field>);

struct Field {
    /// Whether its value is what `Display` shows.
    displayed: bool,
    member: Member,
}

impl Fields {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut fields: Vec<Field> = Vec::new();
        while !input.is_empty() && !is_option(input) {
            let field = Field::parse(input)?;
            if fields.iter().any(|other| other.member == field.member) {
                return Err(Error::new(
                    field.member.span(),
                    format!("field `{}` is given twice", field.name()),
                ));
            }
            fields.push(field);
            comma(input)?;
        }
        Ok(Self(fields))
    }

    /// An expression for the name of the lock; `record` is one of the record's type.
    fn name(&self, record: &TokenStream, options: &Options) -> TokenStream {
        let krate = options.krate();
        let at_record = Span::mixed_site().located_at(record.span());
        let local = Ident::new("record", at_record);
        let model = match options.name() {
            // What it borrows from lives as long as the expression that it stands in.
            Some(name) => {
                let at_name = Span::mixed_site().located_at(name.span());
                quote_spanned!(at_name=> ::core::convert::AsRef::<str>::as_ref(&(#name)))
            }
            None => quote_spanned!(at_record=> #krate::__macros::model(#local)),
        };
        let name = if self.0.is_empty() {
            quote_spanned!(at_record=> #krate::__macros::record_name(#model, #local))
        } else {
            let fields = self.0.iter().map(|field| field.named_value(&local, &krate));
            quote!(#krate::Name::of_fields(#model, &[#(#fields),*]))
        };
        quote_spanned!(Span::mixed_site()=> match &(#record) { #local => #name })
    }
}

impl Field {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let displayed = input.parse::<Option<Token![%]>>()?.is_some();
        if input.peek(LitStr) {
            let text: LitStr = input.parse()?;
            let message = format!("a field stands without quotes: `{}`", text.value());
            return Err(Error::new(text.span(), message));
        }
        let member = if input.peek(LitInt) {
            Member::Unnamed(input.parse::<Index>()?)
        } else if input.peek(Ident) {
            Member::Named(input.parse()?)
        } else {
            let message = "a field of the record stands here by its bare name, such as `bar`";
            return Err(input.error(message));
        };
        if !input.is_empty() && !input.peek(Token![,]) {
            let message = "a field of the record stands here by its bare name, such as `bar`; for other \
                           values, make a name with `Name::of_fields` and use `Lock::new`";
            return Err(Error::new(member.span(), message));
        }
        Ok(Self { displayed, member })
    }

    fn name(&self) -> String {
        match &self.member {
            Member::Named(field) => field.unraw().to_string(),
            Member::Unnamed(index) => index.index.to_string(),
        }
    }

    /// The pair that `Name::of_fields` takes.
    fn named_value(&self, record: &Ident, krate: &TokenStream) -> TokenStream {
        let (name, member) = (self.name(), &self.member);
        let at_field = Span::mixed_site().located_at(member.span());
        let value = quote_spanned!(at_field=> &#record.#member);
        if self.displayed {
            quote_spanned!(at_field=> (#name, &#krate::__macros::Displayed(#value)))
        } else {
            quote_spanned!(at_field=> (#name, #value))
        }
    }
}
