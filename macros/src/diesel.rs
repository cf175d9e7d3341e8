//! What diesel's attributes say about a record, `#[diesel(table_name = .., primary_key(..))]`.

use proc_macro2::TokenStream;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::punctuated::Punctuated;
use syn::{
    Attribute, DeriveInput, Error, Expr, Field, Fields, Ident, LitStr, Member, Path, Result, Token, Type,
    parenthesized, token,
};

/// The table that a struct is a row of.
#[derive(Default)]
pub(crate) struct Row {
    tables: Vec<Ident>,
    key: Option<Vec<Ident>>,
}

impl Row {
    /// Reads the attributes of a struct. What does not matter here is left to diesel.
    pub(crate) fn read(input: &DeriveInput) -> Result<Self> {
        let mut row = Self::default();
        each(&input.attrs, |meta| {
            if meta.path.is_ident("table_name") {
                let table: Path = meta.value()?.parse()?;
                row.tables.extend(table.segments.last().map(|table| table.ident.clone()));
            } else if meta.path.is_ident("primary_key") {
                let names;
                parenthesized!(names in meta.input);
                let names = Punctuated::<Ident, Token![,]>::parse_terminated(&names)?;
                row.key = Some(names.into_iter().collect());
            } else {
                skip(meta)?;
            }
            Ok(())
        })?;
        Ok(row)
    }

    /// The name of the table as that of the model; none if the struct is not of one table alone.
    pub(crate) fn model(&self) -> Option<LitStr> {
        match &self.tables[..] {
            [table] => Some(LitStr::new(&table.unraw().to_string(), table.span())),
            _ => None,
        }
    }

    /// The fields of the primary key. Without one in the attributes it is `id`, as for diesel; without any
    /// attribute there is none.
    pub(crate) fn key(&self, input: &DeriveInput, fields: &Fields) -> Result<Vec<Member>> {
        match &self.key {
            Some(columns) => columns.iter().map(|column| found(column, input, fields)).collect(),
            None => match self.tables.first() {
                Some(table) => Ok(field_of(&Ident::new("id", table.span()), fields)?.into_iter().collect()),
                None => Ok(Vec::new()),
            },
        }
    }
}

fn found(column: &Ident, input: &DeriveInput, fields: &Fields) -> Result<Member> {
    field_of(column, fields)?.ok_or_else(|| {
        let message = format!(
            "no field of `{}` is the column `{column}` of its primary key; add it, or say what else tells its \
             records apart: `#[lockable(key)]` at a field",
            input.ident
        );
        Error::new(column.span(), message)
    })
}

/// The field that is a column.
fn field_of(column: &Ident, fields: &Fields) -> Result<Option<Member>> {
    for (member, field) in fields.members().zip(fields) {
        let named = column_of(field)?.or_else(|| Some(field.ident.as_ref()?.unraw().to_string()));
        if named.is_some_and(|named| column.unraw() == named) {
            return Ok(Some(member));
        }
    }
    Ok(None)
}

/// The column of a field that is called otherwise: `#[diesel(column_name = ..)]`.
fn column_of(field: &Field) -> Result<Option<String>> {
    let mut column = None;
    each(&field.attrs, |meta| {
        if !meta.path.is_ident("column_name") {
            return skip(meta);
        }
        let value = meta.value()?;
        column = Some(if value.peek(LitStr) {
            value.parse::<LitStr>()?.value()
        } else {
            value.call(Ident::parse_any)?.unraw().to_string()
        });
        Ok(())
    })?;
    Ok(column)
}

fn each(attributes: &[Attribute], mut read: impl FnMut(&ParseNestedMeta<'_>) -> Result<()>) -> Result<()> {
    let mut diesel = attributes.iter().filter(|attribute| attribute.path().is_ident("diesel"));
    diesel.try_for_each(|attribute| attribute.parse_nested_meta(|meta| read(&meta)))
}

/// Reads over an option that is diesel's alone: `name`, `name(..)` or `name = ..`.
fn skip(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(token::Paren) {
        let inner;
        parenthesized!(inner in meta.input);
        return inner.parse::<TokenStream>().map(drop);
    }
    if !meta.input.peek(Token![=]) {
        return Ok(());
    }
    let value = meta.value()?;
    // A type may have commas inside that are none between options.
    let ahead = value.fork();
    if ahead.parse::<Type>().is_ok() && (ahead.is_empty() || ahead.peek(Token![,])) {
        return value.parse::<Type>().map(drop);
    }
    value.parse::<Expr>().map(drop)
}
