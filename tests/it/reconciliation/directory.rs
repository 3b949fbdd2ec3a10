//! A world whose connected system is a real directory server.

use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::json;
use tenure::features::access::entitlements::ops::create_entitlement;
use tenure::features::access::entitlements::{self, Call, ListCall};
use tenure::features::connectors::{Connectors, Kind, NewConnector, Policy, ops::create_connector};
use tenure::platform::outbound::{Outbound, OutboundSettings};
use tenure::platform::secrets::SecretBox;

use super::world::{World, by, listed};
use crate::support::slapd::{ADMIN_DN, ADMIN_PASSWORD, BASE_DN, Slapd};

/// Adds people with capitals in their names, and makes them members of the group.
pub fn add_members(slapd: &Slapd, n: u32) {
    let mut ldif = String::new();
    for i in 0..n {
        ldif += &format!("dn: uid=U{i:04},ou=people,{BASE_DN}\nobjectClass: inetOrgPerson\nuid: U{i:04}\ncn: U{i:04}\nsn: U{i:04}\n\n");
    }
    ldif += &format!("dn: cn=researchers,ou=groups,{BASE_DN}\nchangetype: modify\nadd: member\n");
    for i in 0..n {
        ldif += &format!("member: uid=U{i:04},ou=people,{BASE_DN}\n");
    }
    let mut child = Command::new("ldapmodify")
        .args(["-a", "-x", "-H", &slapd.url, "-D", ADMIN_DN, "-w", ADMIN_PASSWORD])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("ldapmodify is installed (Debian package ldap-utils)");
    std::io::Write::write_all(&mut child.stdin.take().expect("a pipe"), ldif.as_bytes()).expect("written");
    assert!(child.wait().expect("ends").success());
}

/// Its entitlement is membership in the group `cn=researchers`, whose members are distinguished names.
pub async fn over_ldap(slapd: &Slapd, policy: entitlements::Policy) -> World {
    let mut connectors = None;
    let mut world = World::over(policy, |store, _| {
        let outbound = Outbound::new(OutboundSettings { allow_loopback: true, extra_ca_pem: None }).expect("the door opens");
        let made = Connectors::new(store.clone(), SecretBox::new("connector secrets", &[7; 32], None), outbound, Default::default());
        connectors = Some(made.clone());
        Arc::new(made)
    })
    .await;
    let secrets = connectors.expect("made").secrets().clone();
    let url = slapd.url.clone();
    let made = world.write(move |tx| {
        let new = NewConnector {
            name: "LDAP".to_owned(),
            kind: Kind::Ldap,
            config: json!({ "url": url, "bindDn": ADMIN_DN }),
            // A call that is repeated at once waits in real time; the jobs' own attempts are by the clock of the test.
            policy: Policy { retries: 0, ..Policy::default() },
            mock: false,
            secrets: [("password".to_owned(), ADMIN_PASSWORD.to_owned())].into(),
        };
        let connector = create_connector(tx, &by(), new, &secrets)?.id;
        let group = format!("cn=researchers,ou=groups,{BASE_DN}");
        let dn = format!("uid={{{{ person.attributes.uid }}}},ou=people,{BASE_DN}");
        let member = |command: &str| Call {
            command: command.to_owned(),
            params: json!({ "groupDn": group, "memberDn": dn }),
        };
        let mut new = listed("Researchers", &connector, policy);
        new.provision = member("add_member");
        new.deprovision = member("remove_member");
        new.check = Some(member("has_member"));
        new.list = Some(ListCall {
            command: "list_members".to_owned(),
            params: json!({ "groupDn": group }),
            key: dn.clone(),
            ignore_case: true,
        });
        new.reconcile.remove = None;
        Ok(create_entitlement(tx, &by(), new)?.id)
    });
    world.entitlement = made.await.unwrap();
    world.role = world.role_of("researcher", std::slice::from_ref(&world.entitlement)).await;
    world
}
