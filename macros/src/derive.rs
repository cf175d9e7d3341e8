//! `#[derive(Lockable)]`.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::meta::ParseNestedMeta;
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{
    Data, DeriveInput, Error, Fields, Generics, Ident, LitInt, LitStr, Member, Path, Result, Type,
    parenthesized, parse_quote, token,
};

use crate::diesel::Row;

/// How long a tuple can be that is a `LockKey`.
const LONGEST_KEY: usize = 8;

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let Data::Struct(data) = &input.data else {
        let message = format!(
            "`Lockable` can be derived for structs only; implement it for `{}` by hand, with a key that \
             tells its values apart",
            input.ident
        );
        return Err(Error::new(input.ident.span(), message));
    };
    let described = Described::read(input, &data.fields)?;
    let Described { krate, .. } = &described;
    let krate = krate.as_ref().map_or_else(|| quote!(::tenure), Path::to_token_stream);
    let (model, key) = (described.model(input)?, described.key(input, &data.fields)?);

    let (ident, mut generics) = (&input.ident, input.generics.clone());
    for part in &key {
        part.bound(&mut generics, &krate);
    }
    let (impl_generics, ty_generics, where_clause) = generics.split_for_impl();
    let types: Vec<_> = key.iter().map(KeyField::ty).collect();
    let (ty, value) = match &key[..] {
        [one] => (quote!(#(#types)*), one.value(&quote!(::core::clone::Clone::clone))),
        parts => {
            // Tells which of the parts is none.
            let part = Ident::new("part", Span::mixed_site());
            let values = parts.iter().map(|field| field.value(&quote!(#part)));
            let value = quote! {
                fn #part<T: #krate::KeyPart + ::core::clone::Clone>(part: &T) -> T {
                    ::core::clone::Clone::clone(part)
                }
                (#(#values),*)
            };
            (quote!((#(#types),*)), value)
        }
    };
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics #krate::Lockable for #ident #ty_generics #where_clause {
            const MODEL: &'static str = #model;
            type Key = #ty;

            fn lock_key(&self) -> Self::Key {
                #value
            }
        }
    })
}

/// What the attributes say, wherever they stand.
#[derive(Default)]
struct Described {
    model: Option<LitStr>,
    /// The key as the struct's attribute names it.
    named: Vec<Member>,
    /// The key as the fields' attributes mark it.
    marked: Vec<KeyField>,
    krate: Option<Path>,
    /// What diesel's attributes say, where those of `lockable` say nothing.
    row: Row,
}

/// A field that is the key or a part of it.
#[derive(Clone)]
struct KeyField {
    member: Member,
    ty: Type,
    /// Whether the text that `Display` shows is the key.
    displayed: bool,
}

impl Described {
    fn read(input: &DeriveInput, fields: &Fields) -> Result<Self> {
        let mut described = Self { row: Row::read(input)?, ..Self::default() };
        for attribute in input.attrs.iter().filter(|attribute| attribute.path().is_ident("lockable")) {
            attribute.parse_nested_meta(|meta| described.read_struct(&meta))?;
        }
        for (member, field) in fields.members().zip(fields) {
            let (mut key, mut displayed) = (false, None);
            for attribute in field.attrs.iter().filter(|attribute| attribute.path().is_ident("lockable")) {
                attribute.parse_nested_meta(|meta| match () {
                    () if meta.path.is_ident("key") => {
                        key = true;
                        Ok(())
                    }
                    () if meta.path.is_ident("display") => {
                        displayed = Some(meta.path.span());
                        Ok(())
                    }
                    () => {
                        Err(meta
                            .error("a field is marked by `#[lockable(key)]` or `#[lockable(key, display)]`"))
                    }
                })?;
            }
            match displayed {
                Some(span) if !key => {
                    return Err(Error::new(
                        span,
                        "`display` says how a key is written: `#[lockable(key, display)]`",
                    ));
                }
                _ if key => {
                    let (ty, displayed) = (field.ty.clone(), displayed.is_some());
                    described.marked.push(KeyField { member, ty, displayed });
                }
                _ => {}
            }
        }
        Ok(described)
    }

    fn read_struct(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("model") {
            let model = meta.value()?;
            let span = model.span();
            let model = model.parse().ok().filter(|model: &LitStr| !model.value().is_empty());
            let model =
                model.ok_or_else(|| Error::new(span, "a model is a text: `model = \"shop.order\"`"))?;
            return set(&mut self.model, model, meta);
        }
        if meta.path.is_ident("crate") {
            return set(&mut self.krate, meta.value()?.call(Path::parse_mod_style)?, meta);
        }
        if !meta.path.is_ident("key") {
            return Err(meta.error("`#[lockable(..)]` has `model = \"..\"`, `key = ..` and `crate = ..`"));
        }
        let named = meta.value().map_err(|_| meta.error("say which field: `key = id`"))?.call(members)?;
        if !self.named.is_empty() {
            return Err(meta.error("`key` is given twice; a key of several fields is `key = (tenant, id)`"));
        }
        self.named = named;
        Ok(())
    }

    fn model(&self, input: &DeriveInput) -> Result<LitStr> {
        self.model.clone().or_else(|| self.row.model()).ok_or_else(|| {
            let message = format!(
                "say which model the records of `{}` are of, by a name that no other model has: \
                 `#[lockable(model = \"shop.order\")]`, or by its table: `#[diesel(table_name = orders)]`",
                input.ident
            );
            Error::new(input.ident.span(), message)
        })
    }

    fn key(&self, input: &DeriveInput, fields: &Fields) -> Result<Vec<KeyField>> {
        if let (Some(named), Some(marked)) = (self.named.first(), self.marked.first()) {
            let message = format!(
                "the key is given here and at field `{}`; give it in one place",
                marked.member.to_token_stream()
            );
            return Err(Error::new(named.span(), message));
        }
        let of_row = match (self.named.first(), self.marked.first()) {
            (None, None) => self.row.key(input, fields)?,
            _ => Vec::new(),
        };
        let named = self.named.iter().chain(&of_row).map(|member| field(member, input, fields));
        let key = named.chain(self.marked.iter().cloned().map(Ok)).collect::<Result<Vec<_>>>()?;
        match key.get(LONGEST_KEY) {
            _ if key.is_empty() => {
                let message = format!(
                    "say what tells one `{}` from another: `#[lockable(key)]` at one field or several, or \
                     `#[lockable(key = id)]` at the struct",
                    input.ident
                );
                Err(Error::new(input.ident.span(), message))
            }
            Some(more) => {
                let message = format!("a key has at most {LONGEST_KEY} parts; implement `Lockable` by hand");
                Err(Error::new(more.member.span(), message))
            }
            None => Ok(key),
        }
    }
}

impl KeyField {
    fn ty(&self) -> TokenStream {
        if self.displayed {
            return quote!(::std::string::String);
        }
        self.ty.to_token_stream()
    }

    /// An expression for the value; `clone` is a function that clones it.
    fn value(&self, clone: &TokenStream) -> TokenStream {
        let Self { member, ty, displayed } = self;
        let mut member = member.clone();
        match &mut member {
            Member::Named(field) => field.set_span(ty.span()),
            Member::Unnamed(index) => index.span = ty.span(),
        }
        let value = quote_spanned!(ty.span()=> &self.#member);
        if *displayed {
            quote_spanned!(ty.span()=> ::std::format!("{}", #value))
        } else {
            quote_spanned!(ty.span()=> #clone(#value))
        }
    }

    /// What must hold of the parameters of a generic struct.
    fn bound(&self, generics: &mut Generics, krate: &TokenStream) {
        let parameters: Vec<_> = generics.type_params().map(|parameter| parameter.ident.clone()).collect();
        let mut mentions = Mentions { parameters: &parameters, found: false };
        mentions.visit_type_mut(&mut self.ty.clone());
        if !mentions.found {
            return;
        }
        let ty = &self.ty;
        generics.make_where_clause().predicates.push(if self.displayed {
            parse_quote!(#ty: ::core::fmt::Display)
        } else {
            parse_quote!(#ty: #krate::KeyPart + ::core::clone::Clone)
        });
    }
}

/// Whether a type is made of a type parameter.
struct Mentions<'a> {
    parameters: &'a [Ident],
    found: bool,
}

impl VisitMut for Mentions<'_> {
    fn visit_path_mut(&mut self, path: &mut Path) {
        self.found |= path.segments.first().is_some_and(|first| self.parameters.contains(&first.ident));
        visit_mut::visit_path_mut(self, path);
    }
}

fn field(member: &Member, input: &DeriveInput, fields: &Fields) -> Result<KeyField> {
    let found = fields.members().zip(fields).find(|(other, _)| other == member);
    let (_, field) = found.ok_or_else(|| {
        let there: Vec<_> = fields.members().map(|other| format!("`{}`", other.to_token_stream())).collect();
        let there = if there.is_empty() { "none".into() } else { there.join(", ") };
        let message =
            format!("`{}` has no field `{}`; it has {there}", input.ident, member.to_token_stream());
        Error::new(member.span(), message)
    })?;
    Ok(KeyField { member: member.clone(), ty: field.ty.clone(), displayed: false })
}

/// `id`, `0` or `(tenant, id)`.
fn members(input: ParseStream<'_>) -> Result<Vec<Member>> {
    let one = |input: ParseStream<'_>| {
        if input.peek(syn::Ident) || input.peek(LitInt) {
            input.parse()
        } else {
            Err(input.error("a key is a field, `key = id`, or several, `key = (tenant, id)`"))
        }
    };
    if !input.peek(token::Paren) {
        return Ok(vec![one(input)?]);
    }
    let content;
    parenthesized!(content in input);
    let several = content.parse_terminated(one, syn::Token![,])?;
    if several.is_empty() {
        return Err(content.error("a key has at least one field"));
    }
    Ok(several.into_iter().collect())
}

fn set<T>(given: &mut Option<T>, value: T, meta: &ParseNestedMeta<'_>) -> Result<()> {
    match given.replace(value) {
        None => Ok(()),
        Some(_) => Err(meta.error("this is given twice")),
    }
}
