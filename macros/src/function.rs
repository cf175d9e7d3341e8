//! Functions that are wrapped in a lock.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    AttrStyle, Attribute, Error, Ident, PatIdent, Receiver, ReceiverKind, Result, ReturnType, Signature,
    Token, TraitBound, Type, TypeInfer, Visibility, braced,
};

use crate::options::{Options, Style};

/// A function as it was written. Its body is not looked into.
pub(crate) struct Function {
    attributes: Vec<Attribute>,
    visibility: Visibility,
    defaultness: Option<Token![default]>,
    signature: Signature,
    body: TokenStream,
    arguments: Vec<Ident>,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        let mut attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        let defaultness = input.parse()?;
        let mut signature: Signature = input.parse().map_err(|error| {
            Error::new(error.span(), "this attribute stands before a function or a method")
        })?;
        if input.peek(Token![;]) {
            let message = "this function has no body to hold a lock for; lock where it is implemented";
            return Err(input.error(message));
        }
        let content;
        braced!(content in input);
        // What stood inside of the body now stands before it.
        attributes.extend(content.call(Attribute::parse_inner)?.into_iter().map(|mut attribute| {
            attribute.style = AttrStyle::Outer;
            attribute
        }));
        let mut bindings = Bindings(Vec::new());
        signature.inputs.iter_mut().for_each(|argument| bindings.visit_fn_arg_mut(argument));
        let body = content.parse()?;
        Ok(Self { attributes, visibility, defaultness, signature, body, arguments: bindings.0 })
    }
}

impl Function {
    /// Refuses what cannot be wrapped.
    pub(crate) fn check(&self) -> Result<()> {
        let Signature { constness, safety, abi, variadic, output, ident, .. } = &self.signature;
        let refused = [
            (constness.to_token_stream(), "a `const fn` cannot wait for a lock"),
            (safety.to_token_stream(), "an `unsafe fn` is not wrapped; take the lock inside of it"),
            (abi.to_token_stream(), "an `extern fn` is not wrapped; take the lock inside of it"),
            (variadic.to_token_stream(), "a variadic function is not wrapped; take the lock inside of it"),
        ];
        for (found, message) in refused {
            if !found.is_empty() {
                return Err(Error::new_spanned(found, message));
            }
        }
        let ReturnType::Type(_, output) = output else {
            let message = format!(
                "`{ident}` returns nothing, and so cannot tell that it did not get the lock; let it return a \
                 `Result`, such as `-> tenure::Result<()>` with `Ok(())` at the end"
            );
            return Err(Error::new(ident.span(), message));
        };
        let mut future = FindFuture(None);
        future.visit_type_mut(&mut output.clone());
        match future.0 {
            Some(span) if self.style() == Style::Blocking => Err(Error::new(
                span,
                format!(
                    "`{ident}` only makes a future, and the lock would be free again before that has run; \
                     write `async fn {ident}`, or take the lock inside of the future"
                ),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn style(&self) -> Style {
        if self.signature.asyncness.is_some() { Style::Async } else { Style::Blocking }
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.signature.ident
    }

    pub(crate) fn receiver(&self) -> Option<&Receiver> {
        self.signature.receiver()
    }

    /// An expression of type `&Self`.
    pub(crate) fn this(&self) -> Option<TokenStream> {
        let receiver = self.receiver()?;
        let this = &receiver.self_token;
        Some(match &receiver.kind {
            ReceiverKind::Value => quote!(#this),
            ReceiverKind::Typed(_, ty) if matches!(&**ty, Type::Path(ty) if ty.path.is_ident("Self")) => {
                quote!(#this)
            }
            _ => quote!(*#this),
        })
    }

    /// What a name in a placeholder means: an argument, or `self`.
    pub(crate) fn argument(&self, name: &str) -> Option<Ident> {
        if name == "self" {
            return Some(Ident::new("self", self.receiver()?.self_token.span));
        }
        self.arguments.iter().find(|argument| *argument == name || argument.unraw() == name).cloned()
    }

    /// What there is instead of an argument that there is not.
    pub(crate) fn arguments(&self) -> String {
        let receiver = self.receiver().map(|_| "`self`".to_owned());
        let names: Vec<_> = receiver
            .into_iter()
            .chain(self.arguments.iter().map(|argument| format!("`{argument}`")))
            .collect();
        match &names[..] {
            [] => "it has none".into(),
            [one] => format!("it has {one}"),
            all => format!("it has {}", all.join(", ")),
        }
    }

    /// Wraps the body: first `name`, which is an expression, then the options are evaluated, the lock is
    /// taken, the record reloaded, the body run, and the lock released.
    pub(crate) fn wrapped(&self, name: &TokenStream, options: &Options) -> TokenStream {
        let Self { attributes, visibility, defaultness, signature, body, .. } = self;
        let style = self.style();
        let (krate, r#await) = (options.krate(), style.r#await());
        let (lock, acquired) = (options.lock(style, name), options.acquired(style));
        let output = self.output();
        // What the return type cannot carry is said where it stands.
        let value = Ident::new("value", Span::mixed_site().located_at(output.span()));
        let refresh = options.refresh().map(|refresh| {
            quote_spanned! {Span::mixed_site()=>
                let refreshed: ::core::result::Result<_, _> = #refresh;
                if let ::core::result::Result::Err(error) = refreshed {
                    ::core::mem::drop(held.release()#r#await);
                    return ::core::result::Result::Err(::core::convert::From::from(error));
                }
            }
        });
        let bound = options.held().map(|name| quote_spanned!(Span::mixed_site()=> let #name = &held;));
        let run = match style {
            Style::Blocking => quote_spanned! {Span::mixed_site()=>
                #krate::__macros::once(move || -> #output { #body })
            },
            Style::Async => quote_spanned! {Span::mixed_site()=>
                async move {
                    // Tells the compiler what it returns.
                    if let ::core::option::Option::Some(never) = ::core::option::Option::<#output>::None {
                        return never;
                    }
                    #body
                }.await
            },
        };
        quote_spanned! {Span::mixed_site()=>
            #(#attributes)* #visibility #defaultness #signature {
                #lock
                let #value = 'under: {
                    let held = match #acquired {
                        ::core::result::Result::Ok(held) => held,
                        ::core::result::Result::Err(error) => break 'under ::core::result::Result::Err(error),
                    };
                    #refresh
                    #bound
                    let value = #run;
                    ::core::result::Result::Ok((value, held.release() #r#await))
                };
                #krate::__macros::answer(#value)
            }
        }
    }

    /// The return type as it can stand in an expression: without `impl Trait`.
    fn output(&self) -> Type {
        let ReturnType::Type(_, output) = &self.signature.output else { return syn::parse_quote!(()) };
        let mut output = (**output).clone();
        Unnamed.visit_type_mut(&mut output);
        output
    }
}

/// Collects the names that patterns bind.
struct Bindings(Vec<Ident>);

impl VisitMut for Bindings {
    fn visit_pat_ident_mut(&mut self, pattern: &mut PatIdent) {
        self.0.push(pattern.ident.clone());
        visit_mut::visit_pat_ident_mut(self, pattern);
    }
}

/// Replaces `impl Trait` by `_`.
struct Unnamed;

impl VisitMut for Unnamed {
    fn visit_type_mut(&mut self, ty: &mut Type) {
        match ty {
            Type::ImplTrait(_) => {
                *ty = Type::Infer(TypeInfer { attrs: Vec::new(), underscore_token: Token![_](ty.span()) })
            }
            _ => visit_mut::visit_type_mut(self, ty),
        }
    }
}

/// Finds `impl Future` and `dyn Future`.
struct FindFuture(Option<Span>);

impl VisitMut for FindFuture {
    fn visit_trait_bound_mut(&mut self, bound: &mut TraitBound) {
        if bound.path.segments.last().is_some_and(|segment| segment.ident == "Future") {
            self.0.get_or_insert(bound.path.span());
        }
        visit_mut::visit_trait_bound_mut(self, bound);
    }
}
