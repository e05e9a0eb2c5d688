//! Reads the options of an attribute, `key = value, key, key(..)`, and keeps all errors for one answer.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream, TokenTree};
use quote::{ToTokens, quote};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, Lit, Result, Token, UnOp, token};

/// The errors of one use of a macro.
#[derive(Debug, Default)]
pub(crate) struct Errors(Option<Error>);

impl Errors {
    pub(crate) fn add(&mut self, error: Error) {
        match &mut self.0 {
            Some(all) => all.combine(error),
            None => self.0 = Some(error),
        }
    }

    /// Adds `message`, shown at `place`.
    pub(crate) fn at(&mut self, place: impl ToTokens, message: impl Display) {
        self.add(Error::new_spanned(place, message));
    }

    /// The value, or nothing and one error more.
    pub(crate) fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.add(error)).ok()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().flatten().count()
    }

    /// The errors as one, if there are any.
    pub(crate) fn into_result(self) -> Result<()> {
        self.0.map_or(Ok(()), Err)
    }
}

impl ToTokens for Errors {
    fn to_tokens(&self, tokens: &mut TokenStream) {
        tokens.extend(self.0.as_ref().map(Error::to_compile_error));
    }
}

/// An option that was given, and the key that gave it.
#[derive(Debug)]
pub(crate) struct Given<T> {
    pub(crate) key: Ident,
    pub(crate) value: T,
}

/// What can stand behind a key.
pub(crate) trait Value: Sized {
    fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self>;
}

/// What can stand behind `key =`.
pub(crate) trait Scalar: Sized {
    /// What is allowed, for messages that start "`key` takes".
    const TAKES: &'static str;

    /// Reads the value; the error says what is wrong with it, or nothing if it is of the wrong kind altogether.
    fn read(value: &Expr) -> std::result::Result<Self, String>;

    /// What the key means when it stands alone.
    fn bare() -> Option<Self> {
        None
    }
}

impl<T: Scalar> Value for T {
    fn parse(key: &Ident, input: ParseStream<'_>) -> Result<Self> {
        let missing = || Error::new(key.span(), format!("`{key}` needs a value, `{key} = ..`: {}", T::TAKES));
        if !input.peek(Token![=]) {
            return if ends(input) { T::bare().ok_or_else(missing) } else { Err(missing()) };
        }
        input.parse::<Token![=]>()?;
        if input.is_empty() {
            return Err(missing());
        }
        let value: Expr = input.parse().map_err(|error| Error::new(error.span(), unfit::<T>(key, "")))?;
        T::read(&value).map_err(|problem| Error::new_spanned(&value, unfit::<T>(key, &problem)))
    }
}

/// Says what `key` takes, and what is wrong with what it got.
pub(crate) fn unfit<T: Scalar>(key: impl Display, problem: &str) -> String {
    let colon = if problem.is_empty() { "" } else { ": " };
    format!("`{key}` takes {}{colon}{problem}", T::TAKES)
}

/// Reads the value of `key` into `slot`, which must be empty yet.
pub(crate) fn set_once<T: Value>(slot: &mut Option<Given<T>>, key: &Ident, input: ParseStream<'_>) -> Result<()> {
    let value = T::parse(key, input)?;
    if slot.is_some() {
        return Err(Error::new(key.span(), format!("`{key}` is given twice")));
    }
    *slot = Some(Given { key: key.clone(), value });
    Ok(())
}

/// A struct with a slot for each option, and `set`, which reads the value of a key into its slot.
macro_rules! options {
    (
        $(#[$doc:meta])*
        $Options:ident { $($key:ident: $Value:ty,)* }
        $(besides $($other:ident),*)?
    ) => {
        $(#[$doc])*
        #[derive(Default)]
        pub(super) struct $Options {
            $(pub(super) $key: Option<crate::attr::Given<$Value>>,)*
        }

        impl $Options {
            const KNOWN: &[&str] = &[$(stringify!($key),)* $($(stringify!($other)),*)?];

            fn set(&mut self, key: &syn::Ident, input: syn::parse::ParseStream<'_>) -> syn::Result<()> {
                match key.to_string().as_str() {
                    $(stringify!($key) => crate::attr::set_once(&mut self.$key, key, input),)*
                    _ => Err(crate::attr::unknown(key, Self::KNOWN)),
                }
            }
        }
    };
}
pub(crate) use options;

/// Calls `read` at each key; after an error it goes on behind the next comma.
pub(crate) fn read_options(
    tokens: TokenStream,
    errors: &mut Errors,
    mut read: impl FnMut(&Ident, ParseStream<'_>) -> Result<()>,
) {
    let all = |input: ParseStream<'_>| {
        while !input.is_empty() {
            if let Err(error) = read_option(input, &mut read) {
                errors.add(error);
                skip_to_comma(input)?;
            }
            input.parse::<Option<Token![,]>>()?;
        }
        Ok(())
    };
    if let Err(error) = all.parse2(tokens) {
        errors.add(error);
    }
}

fn read_option(input: ParseStream<'_>, read: &mut impl FnMut(&Ident, ParseStream<'_>) -> Result<()>) -> Result<()> {
    let key = Ident::parse_any(input).map_err(|error| Error::new(error.span(), "expected an option, `key = value`"))?;
    read(&key, input)?;
    if ends(input) { Ok(()) } else { Err(input.error("expected `,` before the next option")) }
}

fn ends(input: ParseStream<'_>) -> bool {
    input.is_empty() || input.peek(Token![,])
}

fn skip_to_comma(input: ParseStream<'_>) -> Result<()> {
    while !ends(input) {
        input.parse::<TokenTree>()?;
    }
    Ok(())
}

/// The parentheses behind `key` and what `parse` makes of what is between them.
pub(crate) fn parenthesized<T>(
    key: &Ident,
    input: ParseStream<'_>,
    example: &str,
    parse: impl FnOnce(ParseStream<'_>) -> Result<T>,
) -> Result<T> {
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), format!("`{key}` is written `{example}`")));
    }
    let content;
    syn::parenthesized!(content in input);
    let parsed = parse(&content);
    if parsed.is_err() {
        // Or syn has a word to say about what is left over.
        content.parse::<TokenStream>()?;
    }
    parsed
}

/// An unknown key: says what is known, and which of it was probably meant.
pub(crate) fn unknown(key: &Ident, known: &[&str]) -> Error {
    let list = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let hint = meant(key, known).map(|name| format!("did you mean `{name}`? ")).unwrap_or_default();
    Error::new(key.span(), format!("unknown argument `{}`, {hint}expected one of: {list}", key.unraw()))
}

/// The key itself if it is known, or the known one that was probably meant.
pub(crate) fn meant<'a>(key: &Ident, known: &[&'a str]) -> Option<&'a str> {
    did_you_mean(&key.unraw().to_string(), known)
}

/// The known word nearest to `word`, if it is near enough to be meant.
pub(crate) fn did_you_mean<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let near = |name: &&str| distance(word, name);
    known.iter().copied().min_by_key(near).filter(|name| distance(word, name) <= word.len().max(name.len()) / 3)
}

/// How many letters must be added, taken away or replaced to make `b` of `a`.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.chars().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.chars().count()]
}

/// A literal, and whether a minus stands before it; groups that `macro_rules!` adds are looked through.
pub(crate) fn literal(value: &Expr) -> Option<(bool, &Lit)> {
    match value {
        Expr::Lit(literal) => Some((false, &literal.lit)),
        Expr::Group(group) => literal(&group.expr),
        Expr::Unary(unary) if matches!(unary.op, UnOp::Neg(_)) => {
            literal(&unary.expr).map(|(minus, lit)| (!minus, lit))
        }
        _ => None,
    }
}

/// The text of a string literal.
pub(crate) fn text(value: &Expr) -> Option<String> {
    match literal(value)? {
        (false, Lit::Str(text)) => Some(text.value()),
        _ => None,
    }
}

/// Where an error goes that has no token of its own: the whole attribute.
pub(crate) fn whole_attribute() -> Span {
    Span::call_site()
}

/// `Some(value)` or `None`, as an expression.
pub(crate) fn option(value: Option<impl ToTokens>) -> TokenStream {
    match value {
        Some(value) => quote!(::core::option::Option::Some(#value)),
        None => quote!(::core::option::Option::None),
    }
}
