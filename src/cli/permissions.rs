//! `aegis permissions`

use std::process::ExitCode;

use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    client::Client,
    output::{Output, table},
};
use crate::accounts::{Permission, Role};

/// `aegis permissions`
#[derive(Debug, Args)]
pub struct Permissions {
    /// List every route of the web server with who may use it.
    #[arg(long)]
    pub routes: bool,
}

#[derive(Debug, Serialize, Deserialize)]
struct RouteRow {
    method: String,
    path: String,
    access: String,
}

impl Permissions {
    /// Prints which role carries which permission. Needs no server.
    pub fn table(output: &Output) -> anyhow::Result<ExitCode> {
        let json: Vec<Value> = Permission::ALL.iter().map(|permission| row_json(*permission)).collect();
        output.result(&json, |_| {
            let mark = |yes| if yes { "yes" } else { "-" }.to_owned();
            let rows: Vec<Vec<String>> = Permission::ALL
                .iter()
                .map(|permission| {
                    let roles = Role::ALL.iter().map(|role| mark(role.may(*permission)));
                    [permission.name().to_owned()]
                        .into_iter()
                        .chain(roles)
                        .chain([permission.meaning().to_owned()])
                        .collect()
                })
                .collect();
            table(&["PERMISSION", "OWNER", "ADMIN", "MEMBER", "VIEWER", "MAY"], &rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }

    /// Prints the routes of the running appliance.
    pub async fn list_routes(&self, client: &Client, output: &Output) -> anyhow::Result<ExitCode> {
        let routes: Vec<RouteRow> = client.get("/routes").await?;
        output.result(&routes, |routes| {
            let rows: Vec<_> = routes
                .iter()
                .map(|route| vec![route.method.clone(), route.path.clone(), route.access.clone()])
                .collect();
            table(&["METHOD", "PATH", "WHO"], &rows)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

fn row_json(permission: Permission) -> Value {
    let roles: Vec<_> = Role::ALL.iter().filter(|role| role.may(permission)).map(|role| role.name()).collect();
    json!({ "permission": permission.name(), "roles": roles, "meaning": permission.meaning() })
}
