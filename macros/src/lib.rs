//! The macros of `tenure`. Use them through that crate, which has everything that they expand to.

#![forbid(unsafe_code)]

mod derive;
mod function;
mod model;
mod options;
mod template;

use proc_macro::TokenStream;
use syn::parse::{ParseStream, Parser};

use crate::function::Function;
use crate::options::{Options, Style};
use crate::template::{LockName, Template};

#[proc_macro]
pub fn lock_model(input: TokenStream) -> TokenStream {
    call(input, Style::Blocking)
}

#[proc_macro]
pub fn aio_lock_model(input: TokenStream) -> TokenStream {
    call(input, Style::Async)
}

fn call(input: TokenStream, style: Style) -> TokenStream {
    let call = model::Call::parse.parse(input);
    call.map_or_else(syn::Error::into_compile_error, |call| call.expand(style)).into()
}

#[proc_macro_attribute]
pub fn lock_model_attribute(arguments: TokenStream, item: TokenStream) -> TokenStream {
    attribute(item, |function| model::OnMethod::parse.parse(arguments)?.expand(function))
}

#[proc_macro_attribute]
pub fn lock(arguments: TokenStream, item: TokenStream) -> TokenStream {
    const OPTIONS: &[&str] = &["on", "blocking", "wait", "ttl", "label", "held", "crate"];
    let parse = |input: ParseStream<'_>| {
        Ok((LockName::parse(input)?, Options::parse(input, "`#[lock]`", OPTIONS)?))
    };
    attribute(item, |function| {
        let (name, options) = parse.parse(arguments)?;
        function.check()?;
        let name = match &name {
            LockName::Text(text, values) => Template::new(text, values, function)?.name(&options.krate()),
            LockName::Made(made) => quote::quote!(#made),
        };
        Ok(function.wrapped(&name, &options))
    })
}

/// Replaces a function; one that cannot be replaced stays as it is, so that only one error is reported.
fn attribute(
    item: TokenStream,
    expand: impl FnOnce(&Function) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    match syn::parse(item.clone()).and_then(|function| expand(&function)) {
        Ok(wrapped) => wrapped.into(),
        Err(error) => {
            let mut tokens = TokenStream::from(error.into_compile_error());
            tokens.extend(item);
            tokens
        }
    }
}

#[proc_macro_derive(Lockable, attributes(lockable))]
pub fn lockable(input: TokenStream) -> TokenStream {
    let derived = syn::parse(input).and_then(|input| derive::expand(&input));
    derived.unwrap_or_else(syn::Error::into_compile_error).into()
}
