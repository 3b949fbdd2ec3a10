//! MySQL and MariaDB.

use std::net::IpAddr;

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder, Params, Row, SslOpts, TlsError, Value as Cell};
use serde_json::{Map, Value};

use super::super::super::CallFailure;
use super::super::http::from_outbound;
use super::{Outcome, Server, Work};
use crate::platform::outbound::Loopback;

pub(super) async fn run(server: &Server<'_>, work: Work) -> Result<Outcome, CallFailure> {
    // The library connects by itself, to the addresses that were checked and to no others.
    let addresses = server.outbound.addresses(server.origin, Loopback::AsSet).await.map_err(from_outbound)?;
    let addresses: Vec<IpAddr> = addresses.into_iter().map(|a| a.ip()).collect();
    let roots = server.outbound.trusted().map(|der| der.to_vec().into()).collect();
    let tls = server.tls.then(|| SslOpts::default().with_disable_built_in_roots(true).with_root_certs(roots));
    let options = OptsBuilder::default()
        .ip_or_hostname(server.origin.host.clone())
        .resolved_ips(Some(addresses))
        .tcp_port(server.origin.port)
        .user(Some(server.user))
        .pass(Some(server.password))
        .db_name(Some(server.database))
        // It would leave the checked addresses for a socket file of this machine.
        .prefer_socket(false)
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(work.max_bytes.max(64 * 1024)))
        .ssl_opts(tls);
    let mut connection = Conn::new(options).await.map_err(|e| failure(server, &e))?;
    let outcome = carry_out(server, &mut connection, work).await;
    if let Err(error) = connection.disconnect().await {
        tracing::debug!(%error, "a connection to a database was not closed in order");
    }
    outcome
}

async fn carry_out(server: &Server<'_>, connection: &mut Conn, work: Work) -> Result<Outcome, CallFailure> {
    let failed = |e: Error| failure(server, &e);
    if work.statement.is_nothing {
        connection.ping().await.map_err(failed)?;
        return Ok(Outcome::default());
    }
    if work.reads {
        connection.query_drop("START TRANSACTION READ ONLY").await.map_err(failed)?;
    }
    let params = match work.values.is_empty() {
        true => Params::Empty,
        false => Params::Positional(work.values.iter().map(bound).collect()),
    };
    let mut result = connection.exec_iter(work.statement.text.as_str(), params).await.map_err(failed)?;
    let mut outcome = Outcome { changed: result.affected_rows(), ..Outcome::default() };
    while let Some(row) = result.next().await.map_err(failed)? {
        outcome.push(cells(row)?, &work)?;
    }
    result.drop_result().await.map_err(failed)?;
    Ok(outcome)
}

fn bound(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::NULL,
        Value::Bool(yes) => Cell::Int((*yes).into()),
        Value::String(text) => Cell::Bytes(text.clone().into_bytes()),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(n), _) => Cell::Int(n),
            (_, Some(n)) => Cell::UInt(n),
            _ => Cell::Double(number.as_f64().unwrap_or_default()),
        },
        other => Cell::Bytes(other.to_string().into_bytes()),
    }
}

fn cells(row: Row) -> Result<Map<String, Value>, CallFailure> {
    let names: Vec<String> = row.columns_ref().iter().map(|c| c.name_str().into_owned()).collect();
    names
        .into_iter()
        .zip(row.unwrap_raw())
        .map(|(name, cell)| {
            let value = match cell {
                None | Some(Cell::NULL) => Value::Null,
                Some(Cell::Int(n)) => n.into(),
                Some(Cell::UInt(n)) => n.into(),
                Some(Cell::Float(n)) => f64::from(n).into(),
                Some(Cell::Double(n)) => n.into(),
                Some(Cell::Bytes(bytes)) => String::from_utf8(bytes)
                    .map_err(|_| CallFailure::bad_answer(format!("the column {name} is no text")))?
                    .into(),
                Some(Cell::Date(..) | Cell::Time(..)) => {
                    let why = format!("the column {name} is a time; cast it to char in the statement");
                    return Err(CallFailure::bad_answer(why));
                }
            };
            Ok((name, value))
        })
        .collect()
}

fn failure(server: &Server<'_>, error: &Error) -> CallFailure {
    match error {
        Error::Server(said) => {
            // Too many connections, lock timeout, deadlock, shutdown, read only: these pass.
            let passing = matches!(said.code, 1040 | 1053 | 1205 | 1213 | 1290 | 1836);
            server.refused(&said.code.to_string(), &said.message, passing)
        }
        Error::Io(IoError::Tls(TlsError::Tls(tls))) => server.untrusted(tls),
        Error::Io(IoError::Tls(_)) => server.untrusted("the host of the settings is no name that a certificate can have"),
        Error::Io(IoError::Io(io)) => match io.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>()) {
            Some(tls) => server.untrusted(tls),
            None if io.kind() == std::io::ErrorKind::ConnectionRefused => CallFailure::passing(
                "unreachable",
                format!("{}:{} cannot be reached: {}", server.origin.host, server.origin.port, io.kind()),
            ),
            None => server.broken(io.kind()),
        },
        Error::Driver(DriverError::NoClientSslFlagFromServer) => server.untrusted("the server does not offer TLS"),
        Error::Driver(DriverError::ConnectionClosed) => server.broken("it was closed"),
        _ => CallFailure::lasting("sql_failed", "the statement could not be run; see that its parameters fit"),
    }
}
