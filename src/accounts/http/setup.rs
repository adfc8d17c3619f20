//! The page on which the first owner sets the appliance up.

use askama::Template;
use axum::{
    extract::State,
    response::{IntoResponse, Response},
};
use serde::Deserialize;

use super::{AccountsState, client, enter, is_of_the_server, show_form};
use crate::{
    accounts::{EmailAddress, NewSession, Password, Setup},
    http::{
        context::RequestContext,
        error::{form_refused, in_sentences},
        extract::{Form, Query},
        frame::Frame,
        page,
    },
    support::{Error, Kind, Result},
    tenants::Slug,
};

/// The page for setting up.
#[derive(Template)]
#[template(path = "setup.html", config = "web/askama.toml")]
struct SetupPage {
    frame: Frame,
    /// The token, when it came with the address.
    token: String,
    organisation: String,
    slug: String,
    name: String,
    email: String,
    /// Why it did not work.
    error: Option<String>,
}

/// The token out of the log.
#[derive(Deserialize)]
pub struct SetupQuery {
    #[serde(default)]
    token: String,
}

/// The form for setting up.
#[derive(Deserialize)]
pub struct SetupForm {
    token: String,
    organisation: String,
    /// Empty: made of the organisation's name.
    #[serde(default)]
    slug: String,
    name: String,
    email: String,
    password: String,
}

/// `GET /setup`: the form, until there is a user.
pub async fn show_setup(
    State(state): State<AccountsState>,
    context: RequestContext,
    Query(query): Query<SetupQuery>,
) -> Result<Response> {
    if state.accounts.is_set_up().await? {
        return Err(gone());
    }
    show_form(&context, |frame| {
        page(&SetupPage {
            frame: Frame { title: "Set up".to_owned(), ..frame },
            token: query.token,
            organisation: String::new(),
            slug: String::new(),
            name: String::new(),
            email: String::new(),
            error: None,
        })
    })
}

/// `POST /setup`: organisation and owner at once, and the owner is signed in.
pub async fn complete_setup(
    State(state): State<AccountsState>,
    context: RequestContext,
    Form(form): Form<SetupForm>,
) -> Result<Response> {
    match try_setup(&state, &context, &form).await {
        Ok(session) => enter(&context, &session, "/"),
        Err(error) if context.wants_json() || is_of_the_server(error.kind()) => Ok(error.into_response()),
        Err(error) => {
            let form = SetupPage {
                frame: Frame::public(&context, "Set up"),
                token: form.token,
                organisation: form.organisation,
                slug: form.slug,
                name: form.name,
                email: form.email,
                error: Some(in_sentences(&error)),
            };
            Ok(form_refused(&error, page(&form)?))
        }
    }
}

async fn try_setup(state: &AccountsState, context: &RequestContext, form: &SetupForm) -> Result<NewSession> {
    if state.accounts.is_set_up().await? {
        return Err(gone());
    }
    let slug = form.slug.trim();
    let slug: Slug = if slug.is_empty() { suggest_slug(&form.organisation).parse()? } else { slug.parse()? };
    let email: EmailAddress = form.email.parse()?;
    let setup = Setup {
        organisation: form.organisation.clone(),
        slug,
        name: form.name.clone(),
        email,
        password: Password::chosen(form.password.as_str())?,
    };
    state.accounts.complete_setup(form.token.trim(), setup, &client(context)).await
}

/// A short name out of a name: `Müller & Söhne AG` becomes `mueller-soehne-ag`, `3M` becomes `org-3m`.
fn suggest_slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        match c {
            'a'..='z' | '0'..='9' => slug.push(c),
            'ä' | 'æ' => slug.push_str("ae"),
            'ö' | 'ø' | 'œ' => slug.push_str("oe"),
            'ü' => slug.push_str("ue"),
            'ß' => slug.push_str("ss"),
            'à' | 'á' | 'â' | 'ã' | 'å' => slug.push('a'),
            'è' | 'é' | 'ê' | 'ë' => slug.push('e'),
            'ì' | 'í' | 'î' | 'ï' => slug.push('i'),
            'ò' | 'ó' | 'ô' | 'õ' => slug.push('o'),
            'ù' | 'ú' | 'û' => slug.push('u'),
            'ç' => slug.push('c'),
            'ñ' => slug.push('n'),
            '\'' | '’' => {}
            _ if slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    let slug = slug.trim_matches('-');
    let whole = if slug.len() >= 3 && slug.starts_with(|c: char| c.is_ascii_lowercase()) {
        slug.to_owned()
    } else {
        format!("org-{slug}")
    };
    let cut: String = whole.chars().take(40).collect();
    cut.trim_end_matches('-').to_owned()
}

fn gone() -> Error {
    Error::new(Kind::NotFound, "There is no page at this address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_gives_a_short_name_that_is_allowed() {
        assert_eq!(suggest_slug("Müller & Söhne AG"), "mueller-soehne-ag");
        assert_eq!(suggest_slug("3M"), "org-3m");
        assert_eq!(suggest_slug("O’Neil’s   Café, Ltd."), "oneils-cafe-ltd");
        for name in ["", "  ", "AB", "株式会社", "--", &"x y".repeat(40), "-a-"] {
            assert!(suggest_slug(name).parse::<Slug>().is_ok(), "{name:?} gives {}", suggest_slug(name));
        }
    }
}
