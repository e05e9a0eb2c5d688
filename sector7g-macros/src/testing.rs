//! What the tests of both macros share.

use proc_macro2::{TokenStream, TokenTree};
use syn::LitStr;

/// Keeps `expansion` as the snapshot `name`, the way people would write it.
pub(crate) fn snapshot(name: &str, expansion: TokenStream) {
    let file = syn::parse2(expansion).expect("an expansion is a list of items");
    insta::with_settings!({ omit_expression => true, prepend_module_to_snapshot => false }, {
        insta::assert_snapshot!(name, prettyplease::unparse(&file));
    });
}

/// The messages of an expansion's `compile_error!`s.
pub(crate) fn errors(expansion: TokenStream) -> Vec<String> {
    let mut messages = Vec::new();
    let mut tokens = expansion.into_iter();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Ident(name) if name == "compile_error" => messages.push(message(tokens.nth(1))),
            TokenTree::Group(group) => messages.extend(errors(group.stream())),
            _ => {}
        }
    }
    messages
}

fn message(group: Option<TokenTree>) -> String {
    let Some(TokenTree::Group(group)) = group else { panic!("no message in {group:?}") };
    syn::parse2::<LitStr>(group.stream()).expect("a message is text").value()
}
