//! MySQL and MariaDB.

use std::net::{IpAddr, Ipv4Addr};

use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, Error, IoError, OptsBuilder, Params, Row, Value as Cell};
use serde_json::{Map, Value};

use super::super::super::CallFailure;
use super::mysql_wire::{Fault, Place, Wire};
use super::{Outcome, Server, Work};
use crate::platform::outbound::metered::TooMuch;

pub(super) async fn run(server: &Server<'_>, work: Work) -> Result<Outcome, CallFailure> {
    let most = work.max_bytes;
    let wire = Wire::dial(server, &work).await?;
    let outcome = ask(server, wire.place(), work).await;
    match (outcome, wire.broke()) {
        // What the library finds is a connection that ended.
        (Err(failed), Some(why)) => Err(broken(server, most, why).unwrap_or(failed)),
        (outcome, _) => {
            wire.close();
            outcome
        }
    }
}

async fn ask(server: &Server<'_>, place: &Place, work: Work) -> Result<Outcome, CallFailure> {
    let (port, socket) = match place {
        Place::Port(port) => (*port, None),
        Place::Socket(name) => (server.origin.port, Some(name.clone())),
    };
    let options = OptsBuilder::default()
        .ip_or_hostname(server.origin.host.clone())
        .resolved_ips(Some(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
        .tcp_port(port)
        .socket(socket)
        .user(Some(server.user))
        .pass(Some(server.password))
        .db_name(Some(server.database))
        // It would leave the way that it is led for a socket file that the server names.
        .prefer_socket(false)
        .stmt_cache_size(0_usize)
        .max_allowed_packet(Some(work.max_bytes.max(64 * 1024)));
    let mut connection = Conn::new(options).await.map_err(|e| failure(server, &e))?;
    let outcome = carry_out(server, &mut connection, work).await;
    if let Err(error) = connection.disconnect().await {
        tracing::debug!(%error, "a connection to a database was not closed in order");
    }
    outcome
}

/// Why the way to the server broke, when that tells more than that it did.
fn broken(server: &Server<'_>, most: usize, error: &std::io::Error) -> Option<CallFailure> {
    if TooMuch::is_in(error) {
        return Some(super::too_large(most));
    }
    let inner = error.get_ref()?;
    if let Some(tls) = inner.downcast_ref::<rustls::Error>() {
        return Some(server.untrusted(tls));
    }
    inner.downcast_ref::<Fault>().map(|fault| match fault {
        Fault::NoTls => server.untrusted(fault),
        Fault::Packet => CallFailure::bad_answer(fault),
    })
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
        Error::Io(IoError::Io(io)) => server.broken(io.kind()),
        Error::Driver(DriverError::ConnectionClosed) => server.broken("it was closed"),
        _ => CallFailure::lasting("sql_failed", "the statement could not be run; see that its parameters fit"),
    }
}
