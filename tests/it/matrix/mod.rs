//! Every door, tried by everybody: each route of the router × everyone who should not come in that way, and everyone
//! who should. The routes are the router's own list, so a new one is tried without anybody thinking of it.

pub mod office;
pub mod visit;

use axum::http::StatusCode;

use self::{
    office::{NARROW, Office},
    visit::{Route, Visit},
};
use aegis::accounts::{Permission, Role};

/// What only Acme's own people may ever read: it stands in every name, title and text of Acme.
pub const MARK: &str = "Zebrafinch";

#[tokio::test(flavor = "multi_thread")]
async fn no_route_lets_anybody_in_whom_it_should_not() {
    let office = Office::open().await;
    let before = office.fingerprint().await;
    let mut tried = 0;
    let mut wrong = Vec::new();
    for route in &office.routes {
        for visitor in office.strangers() {
            tried += 1;
            wrong.extend(refusal_fault(route, &office.visit(route, &visitor).await, visitor.name));
        }
        for role in Role::ALL {
            if route.allows(role) {
                continue;
            }
            tried += 1;
            let visit = office.visit(route, &office.colleague(role)).await;
            if visit.status != StatusCode::FORBIDDEN {
                wrong.push(format!("{route} answered {} to a {role}, whom it is not for", visit.status));
            }
        }
        for role in Role::ALL.into_iter().filter(|role| !route.allows_programs_of(*role)) {
            tried += 1;
            let visit = office.visit(route, &office.program(role)).await;
            if visit.status != StatusCode::FORBIDDEN {
                wrong.push(format!("{route} answered {} to a program of a {role}: {}", visit.status, visit.body));
            }
        }
        if !route.allows_with_only(NARROW) {
            tried += 1;
            let visit = office.visit(route, &office.narrow_program()).await;
            if visit.status != StatusCode::FORBIDDEN {
                wrong.push(format!("{route} answered {} to a token that carries only {NARROW}", visit.status));
            }
        }
        tried += 1;
        let foreign = office.visit(route, &office.foreign_owner()).await;
        wrong.extend(foreign_fault(route, &foreign));
    }
    println!("{tried} visits to {} routes by those whom they are not for", office.routes.len());
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(office.fingerprint().await, before, "somebody who was refused changed something of Acme");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_lets_in_whom_it_is_for_and_none_breaks_on_an_empty_request() {
    let office = Office::open().await;
    let (mut tried, mut wrong) = (0, Vec::new());
    for route in &office.routes {
        let people = Role::ALL.into_iter().filter(|role| route.allows(*role)).map(|role| office.colleague(role));
        let programs = Role::ALL.into_iter().filter(|role| route.allows_programs_of(*role));
        for visitor in people.chain(programs.map(|role| office.program(role))) {
            tried += 1;
            let (visit, role) = (office.visit(route, &visitor).await, visitor.name);
            let shut_out = matches!(visit.status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
            if visit.status.is_server_error() || shut_out || (visit.leads_to_sign_in() && !route.path.contains("sign-"))
            {
                wrong.push(format!("{route} answered {} to a {role}: {}", visit.status, visit.body));
            }
        }
    }
    println!("{tried} visits to {} routes by those whom they are for", office.routes.len());
    assert!(wrong.is_empty(), "{} of {tried}:\n{}", wrong.len(), wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rail_leads_only_where_one_may_go() {
    let office = Office::open().await;
    for role in Role::ALL {
        let visitor = office.colleague(role);
        let start = office.get("/knowledge", &visitor).await;
        assert_eq!(start.status, StatusCode::OK, "{role}");
        let links = links(&start.body);
        assert!(links.contains(&"/knowledge".to_owned()), "{links:?}");
        for link in links {
            let visit = office.get(&link, &visitor).await;
            assert!(
                visit.status.is_success() || visit.status.is_redirection(),
                "{link} for a {role}: {}",
                visit.status
            );
        }
    }
    assert!(!Role::Viewer.may(Permission::AuditRead));
}

/// Who is not signed in at all is sent to sign in, or told so; and learns nothing.
fn refusal_fault(route: &Route, visit: &Visit, who: &str) -> Option<String> {
    if visit.status.is_server_error() {
        return Some(format!("{route} broke ({}) on {who}: {}", visit.status, visit.body));
    }
    if visit.body.contains(MARK) {
        return Some(format!("{route} told {who} something of Acme's: {}", visit.body));
    }
    if route.is_open() {
        return None;
    }
    let refused = match (route.is_api(), route.method.is_safe()) {
        (true, _) => visit.status == StatusCode::UNAUTHORIZED,
        (false, true) => visit.leads_to_sign_in() || visit.status == StatusCode::UNAUTHORIZED,
        (false, false) => {
            visit.leads_to_sign_in() || matches!(visit.status, StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED)
        }
    };
    (!refused).then(|| format!("{route} answered {} to {who}: {}", visit.status, visit.body))
}

/// The owner of another organisation finds none of Acme's things, whatever ids are in the address.
fn foreign_fault(route: &Route, visit: &Visit) -> Option<String> {
    if visit.status.is_server_error() {
        return Some(format!("{route} broke ({}) on another organisation's owner: {}", visit.status, visit.body));
    }
    if visit.body.contains(MARK) {
        return Some(format!("{route} showed another organisation's owner something of Acme's: {}", visit.body));
    }
    // An entry's place is counted from 1 in each organisation's log: the number names an entry of the visitor's own.
    let names_acmes_thing = route.path.contains('{') && !route.path.contains("{seq}") && !route.is_open();
    let found = visit.status.is_success() || (visit.status.is_redirection() && !visit.leads_to_sign_in());
    (names_acmes_thing && found)
        .then(|| format!("{route} answered {} to another organisation's owner: {}", visit.status, visit.body))
}

/// The addresses in the rail.
fn links(html: &str) -> Vec<String> {
    let rail =
        html.split("<nav class=\"rail\"").nth(1).and_then(|rest| rest.split("</nav>").next()).unwrap_or_default();
    let links = rail.split("href=\"/").skip(1).filter_map(|rest| rest.split('"').next());
    links.filter(|path| !path.starts_with("assets/")).map(|path| format!("/{path}")).collect()
}
