//! Names made of the arguments of a function: `"order:{id}"`.

use std::collections::VecDeque;

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{Error, Expr, Ident, Index, LitStr, Member, Result};

use crate::function::Function;
use crate::options::{Options, comma, is_option, ungrouped};

/// The text of a name, cut at its placeholders.
struct Template<'a> {
    text: &'a LitStr,
    pieces: Vec<Piece>,
}

enum Piece {
    /// Stands in the name as it is.
    Text(String),
    /// Is escaped, and formatted by what stands behind the `:` of its placeholder.
    Value { shown: String, value: TokenStream, format: String },
}

impl<'a> Template<'a> {
    /// Cuts a text; `values` stand for its empty placeholders, the others name arguments.
    fn new(text: &'a LitStr, values: &[Expr], function: &Function) -> Result<Self> {
        let mut template = Self { text, pieces: Vec::new() };
        let mut values: VecDeque<_> = values.iter().collect();
        let source = text.value();
        let (mut rest, mut plain) = (source.as_str(), String::new());
        while let Some(at) = rest.find(['{', '}']) {
            plain.push_str(&rest[..at]);
            let brace = &rest[at..=at];
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix(brace) {
                plain.push_str(brace);
                rest = after;
                continue;
            }
            let Some((inside, after)) = rest.split_once('}').filter(|_| brace == "{") else {
                return Err(template.error(format!("a lone `{brace}` in a name is written `{brace}{brace}`")));
            };
            rest = after;
            template.push_text(&mut plain);
            let (what, format) = inside.split_once(':').unwrap_or((inside, ""));
            let value = match what.trim() {
                "" => {
                    let value = values.pop_front();
                    let value = value.ok_or_else(|| {
                        template.error("`{}` needs a value behind the name: `\"order:{}\", order.number()`")
                    })?;
                    quote!(#value)
                }
                path => template.path(path, function)?,
            };
            template.pieces.push(Piece::Value { shown: inside.into(), value, format: format.trim().into() });
        }
        plain.push_str(rest);
        template.push_text(&mut plain);
        if let Some(value) = values.front() {
            return Err(Error::new(value.span(), "the name has no `{}` for this value"));
        }
        template.check()?;
        Ok(template)
    }

    fn push_text(&mut self, plain: &mut String) {
        if !plain.is_empty() {
            self.pieces.push(Piece::Text(std::mem::take(plain)));
        }
    }

    /// An argument, or a field of one.
    fn path(&self, path: &str, function: &Function) -> Result<TokenStream> {
        let mut steps = path.split('.');
        let root = steps.next().unwrap_or_default();
        let Some(mut value) = function.argument(root) else {
            let message = match identifier(root) {
                None if root == "self" => format!("`{}` is no method, and has no `self`", function.name()),
                Some(_) => {
                    format!("`{root}` is not an argument of `{}`; {}", function.name(), function.arguments())
                }
                None => format!(
                    "`{{{path}}}` is not an argument or a field of one; write `{{}}`, and the expression \
                     behind the name: `\"order:{{}}\", order.number()`"
                ),
            };
            return Err(self.error(message));
        };
        // It means what the argument means, and stands where the text does.
        value.set_span(value.span().located_at(self.text.span()));
        let mut value = quote!(#value);
        for step in steps {
            let member = self.member(step).ok_or_else(|| {
                self.error(format!(
                    "`{step}` in `{{{path}}}` is not a field; write `{{}}`, and the expression behind the \
                     name: `\"order:{{}}\", order.number()`"
                ))
            })?;
            value = quote_spanned!(self.text.span()=> #value.#member);
        }
        Ok(value)
    }

    fn member(&self, step: &str) -> Option<Member> {
        if let Ok(index) = step.parse() {
            return Some(Member::Unnamed(Index { index, span: self.text.span() }));
        }
        let mut field = identifier(step)?;
        field.set_span(self.text.span());
        Some(Member::Named(field))
    }

    fn check(&self) -> Result<()> {
        if self.pieces.is_empty() {
            return Err(self.error("a lock needs a name of at least one character"));
        }
        let mut last: Option<&str> = None;
        for piece in &self.pieces {
            match (piece, last) {
                (Piece::Text(text), _) if text.contains(':') => last = None,
                (Piece::Text(_), _) => {}
                (Piece::Value { shown, .. }, Some(before)) => {
                    return Err(self.error(format!(
                        "`{{{before}}}` and `{{{shown}}}` need a `:` between them; otherwise two calls with \
                         different arguments could make the same name"
                    )));
                }
                (Piece::Value { shown, .. }, None) => last = Some(shown),
            }
        }
        Ok(())
    }

    /// An expression for the name.
    fn name(&self, options: &Options) -> TokenStream {
        if let [Piece::Text(text)] = &self.pieces[..] {
            return quote!(#text);
        }
        let pieces = self.pieces.iter().map(|piece| match piece {
            Piece::Text(text) => quote_spanned!(Span::mixed_site()=> name.text(#text);),
            Piece::Value { value, format, .. } => {
                let at_value = Span::mixed_site().located_at(value.span());
                let value = if format.is_empty() {
                    quote_spanned!(at_value=> &(#value))
                } else {
                    let format = LitStr::new(&format!("{{:{format}}}"), self.text.span());
                    quote_spanned!(at_value=> &::core::format_args!(#format, #value))
                };
                quote_spanned!(Span::mixed_site()=> name.value(#value);)
            }
        });
        let krate = options.krate();
        quote_spanned! {Span::mixed_site()=> {
            let mut name = #krate::__macros::NameText::new();
            #(#pieces)*
            name.finish()
        }}
    }

    fn error(&self, message: impl std::fmt::Display) -> Error {
        Error::new(self.text.span(), message)
    }
}

/// A name as it can stand in a placeholder: a keyword is one too.
fn identifier(text: &str) -> Option<Ident> {
    let bare = text.strip_prefix("r#").unwrap_or(text);
    if matches!(bare, "self" | "Self" | "super" | "crate" | "_") {
        return None;
    }
    syn::parse_str(text).or_else(|_| syn::parse_str(&format!("r#{bare}"))).ok()
}

/// What stands before the options of `#[lock(..)]`.
pub(crate) enum LockName {
    /// A text with placeholders, and the values of those that are empty.
    Text(LitStr, Vec<Expr>),
    /// A name that is made elsewhere.
    Made(Expr),
}

impl LockName {
    pub(crate) fn parse(input: syn::parse::ParseStream<'_>) -> Result<Self> {
        let example = "`#[tenure::lock(\"order:{id}\")]`";
        if input.is_empty() {
            return Err(Error::new(Span::call_site(), format!("name the lock: {example}")));
        }
        if is_option(input) {
            return Err(input.error(format!("name the lock first, then give the options: {example}")));
        }
        let first = ungrouped(input.parse()?);
        let mut values = Vec::new();
        let literal = match first {
            Expr::Lit(literal) => literal,
            made => {
                comma(input)?;
                return Ok(Self::Made(made));
            }
        };
        let syn::Lit::Str(text) = literal.lit else {
            return Err(Error::new(literal.span(), format!("the name of a lock is a text: {example}")));
        };
        comma(input)?;
        while !input.is_empty() && !is_option(input) {
            values.push(input.parse()?);
            comma(input)?;
        }
        Ok(Self::Text(text, values))
    }

    /// An expression for it.
    pub(crate) fn expand(&self, function: &Function, options: &Options) -> Result<TokenStream> {
        match self {
            Self::Text(text, values) => Ok(Template::new(text, values, function)?.name(options)),
            Self::Made(made) => {
                let krate = options.krate();
                Ok(quote!(#krate::__macros::made(#made)))
            }
        }
    }
}

#[cfg(test)]
mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Placeholders, most of which name an argument, and what may stand between them.
    const TEXTS: &str = r"((\{(order|self|a)?(\.(self|r#crate|0|match))?(:[?0x])?\}|[{}é]):?){0,3}";

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn whatever_the_text_it_is_refused_or_makes_an_expression(text in TEXTS) {
            let function: Function = syn::parse_quote!(fn f(order: u8, r#match: u8) -> tenure::Result<()> {});
            let text = LitStr::new(&text, Span::call_site());
            let name = Template::new(&text, &[], &function).map(|template| template.name(&Options::default()));
            // What it makes of the text, the compiler can read.
            if let Ok(name) = name {
                prop_assert!(syn::parse2::<Expr>(name).is_ok());
            }
        }
    }
}
