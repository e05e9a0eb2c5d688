//! `#[derive(Worker)]`: reads `#[worker(..)]` and emits the settings.

mod emit;
mod options;
#[cfg(test)]
mod tests;

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Fields, Ident};

use self::options::Options;
use crate::attr::Errors;

/// What `#[derive(Worker)] item` adds; `root` is the path of the library.
pub(crate) fn expand(item: TokenStream, root: &TokenStream) -> TokenStream {
    let mut errors = Errors::default();
    let item = errors.keep(syn::parse2::<DeriveInput>(item));
    let settings = item.filter(|item| check(item, &mut errors)).map(|item| {
        let options = Options::read(&item.attrs, &mut errors);
        let is_unit = matches!(&item.data, Data::Struct(data) if matches!(data.fields, Fields::Unit));
        emit::settings(&Worker { name: name(&options, &item.ident), ident: item.ident, is_unit, options }, root)
    });
    quote!(#settings #errors)
}

/// A worker, read and checked.
struct Worker {
    ident: Ident,
    name: String,
    /// Whether its name is a value, too.
    is_unit: bool,
    options: Options,
}

/// Whether settings can be emitted for the item.
fn check(item: &DeriveInput, errors: &mut Errors) -> bool {
    let message = "a worker is a struct, `struct Homer;`";
    match &item.data {
        Data::Enum(data) => errors.at(data.enum_token, message),
        Data::Union(data) => errors.at(data.union_token, message),
        Data::Struct(_) if !item.generics.params.is_empty() => {
            errors.at(&item.generics, "a worker is one type with one name: leave the parameters out");
        }
        Data::Struct(_) => return true,
    }
    false
}

fn name(options: &Options, ident: &Ident) -> String {
    match &options.slots.name {
        Some(given) => given.value.0.clone(),
        None => kebab_case(&ident.to_string()),
    }
}

/// `InanimateRod` as `inanimate-rod`, `HTTPWorker2` as `http-worker2`.
fn kebab_case(ident: &str) -> String {
    let letters: Vec<char> = ident.trim_start_matches("r#").chars().collect();
    let mut name = String::new();
    for (index, letter) in letters.iter().enumerate() {
        let before = index.checked_sub(1).map(|index| letters[index]);
        let follows_word = before.is_some_and(|before| before.is_lowercase() || before.is_numeric());
        let ends_capitals =
            before.is_some_and(char::is_uppercase) && letters.get(index + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && (follows_word || ends_capitals) {
            name.push('-');
        }
        name.extend(letter.to_lowercase());
    }
    name.replace('_', "-")
}
