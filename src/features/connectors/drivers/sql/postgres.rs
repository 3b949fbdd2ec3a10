//! PostgreSQL.

use std::error::Error as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::BytesMut;
use futures::TryStreamExt as _;
use rustls::pki_types::ServerName;
use serde_json::{Map, Value};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, TlsConnect, TlsStream};
use tokio_postgres::types::{Format, FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Config, Row};

use super::super::super::CallFailure;
use super::super::http::from_outbound;
use super::{Outcome, Server, TALK, Work};
use crate::platform::outbound::metered::{Metered, TooMuch};

/// The connection, under TLS or not: a message is read whole, so its size is limited below.
type Wire = Metered<TcpStream>;
type BoxError = Box<dyn std::error::Error + Sync + Send>;

pub(super) async fn run(server: &Server<'_>, work: Work) -> Result<Outcome, CallFailure> {
    let stream = server.outbound.connect(server.origin, work.limit).await.map_err(from_outbound)?;
    let stream = Metered::new(stream, 2 * work.max_bytes + TALK);
    let mut config = Config::new();
    config
        .user(server.user)
        .password(server.password)
        .dbname(server.database)
        .application_name("tenure")
        // The server gives up where Tenure does.
        .options(format!("-c statement_timeout={}", work.limit.as_millis()))
        .ssl_mode(if server.tls { SslMode::Require } else { SslMode::Disable });
    let tls = Tls { connector: server.outbound.tls().into(), host: server.origin.host.clone() };
    let most = work.max_bytes;
    let (client, connection) = config.connect_raw(stream, tls).await.map_err(|e| failure(server, most, &e))?;
    // Ended when this is given up: by itself it would wait for the answer of a server that hangs.
    let mut driving = JoinSet::new();
    driving.spawn(connection);
    match carry_out(&client, work).await {
        Ok(outcome) => Ok(outcome),
        Err(Trouble::Refused(failed)) => Err(failed),
        // Why it closed is known to what drove the connection.
        Err(Trouble::Failed(closed)) if closed.is_closed() => Err(match driving.join_next().await {
            Some(Ok(Err(why))) => failure(server, most, &why),
            _ => server.broken("it closed the connection"),
        }),
        Err(Trouble::Failed(error)) => Err(failure(server, most, &error)),
    }
}

/// Why a statement gave nothing.
enum Trouble {
    /// The driver says so.
    Failed(tokio_postgres::Error),
    /// What came is not taken.
    Refused(CallFailure),
}

impl From<tokio_postgres::Error> for Trouble {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Failed(error)
    }
}

impl From<CallFailure> for Trouble {
    fn from(failure: CallFailure) -> Self {
        Self::Refused(failure)
    }
}

async fn carry_out(client: &Client, work: Work) -> Result<Outcome, Trouble> {
    if work.statement.is_nothing {
        client.simple_query("").await?;
        return Ok(Outcome::default());
    }
    if work.reads {
        client.batch_execute("BEGIN READ ONLY").await?;
    }
    let statement = client.prepare(&work.statement.text).await?;
    let params: Vec<Param> = work.values.iter().cloned().map(Param).collect();
    let stream = client.query_raw(&statement, params.iter().map(|p| p as &(dyn ToSql + Sync))).await?;
    futures::pin_mut!(stream);
    let mut outcome = Outcome::default();
    while let Some(row) = stream.try_next().await? {
        outcome.push(cells(&row)?, &work)?;
    }
    outcome.changed = stream.rows_affected().unwrap_or_default();
    Ok(outcome)
}

fn cells(row: &Row) -> Result<Map<String, Value>, CallFailure> {
    let mut cells = Map::new();
    for (at, column) in row.columns().iter().enumerate() {
        let Cell(value) = row.try_get::<_, Cell>(at).map_err(|_| {
            CallFailure::bad_answer(format!(
                "the column {} is of the type {}; cast it to text in the statement",
                column.name(),
                column.type_().name()
            ))
        })?;
        cells.insert(column.name().to_owned(), value);
    }
    Ok(cells)
}

fn failure(server: &Server<'_>, most: usize, error: &tokio_postgres::Error) -> CallFailure {
    if let Some(said) = error.as_db_error() {
        let code = said.code().code();
        // Connections, resources, the operator, deadlocks: classes 08, 53, 57, 40.
        let passing = ["08", "53", "57", "40"].iter().any(|class| code.starts_with(class));
        return server.refused(code, said.message(), passing);
    }
    let mut cause = error.source();
    while let Some(inner) = cause {
        let io = inner.downcast_ref::<std::io::Error>();
        let tls = io.and_then(|e| e.get_ref()?.downcast_ref::<rustls::Error>());
        if let Some(tls) = tls.or_else(|| inner.downcast_ref::<rustls::Error>()) {
            return server.untrusted(tls);
        }
        if io.is_some_and(TooMuch::is_in) {
            return super::too_large(most);
        }
        if let Some(io) = io {
            return server.broken(io.kind());
        }
        cause = inner.source();
    }
    let text = error.to_string();
    if text.contains("TLS") {
        return server.untrusted("the server does not offer TLS");
    }
    CallFailure::lasting("sql_failed", format!("the statement could not be run: {text}"))
}

/// A value in the form of a text, which the server reads as the type of its place: nothing is spliced in.
#[derive(Debug)]
struct Param(Value);

impl ToSql for Param {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, BoxError> {
        match &self.0 {
            Value::Null => return Ok(IsNull::Yes),
            Value::String(text) => out.extend_from_slice(text.as_bytes()),
            other => out.extend_from_slice(other.to_string().as_bytes()),
        }
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }

    to_sql_checked!();
}

/// A value of a column whose type has a form in JSON.
struct Cell(Value);

impl<'a> FromSql<'a> for Cell {
    fn from_sql(ty: &Type, raw: &'a [u8]) -> Result<Self, BoxError> {
        Ok(Self(match *ty {
            Type::BOOL => bool::from_sql(ty, raw)?.into(),
            Type::INT2 => i16::from_sql(ty, raw)?.into(),
            Type::INT4 => i32::from_sql(ty, raw)?.into(),
            Type::INT8 => i64::from_sql(ty, raw)?.into(),
            Type::FLOAT4 => f32::from_sql(ty, raw)?.into(),
            Type::FLOAT8 => f64::from_sql(ty, raw)?.into(),
            Type::JSON | Type::JSONB => Value::from_sql(ty, raw)?,
            Type::UUID => uuid(raw)?.into(),
            _ => <&str>::from_sql(ty, raw)?.into(),
        }))
    }

    fn from_sql_null(_: &Type) -> Result<Self, BoxError> {
        Ok(Self(Value::Null))
    }

    fn accepts(ty: &Type) -> bool {
        matches!(
            *ty,
            Type::BOOL | Type::INT2 | Type::INT4 | Type::INT8 | Type::FLOAT4 | Type::FLOAT8 | Type::JSON | Type::JSONB | Type::UUID
        ) || <&str as FromSql>::accepts(ty)
    }
}

fn uuid(raw: &[u8]) -> Result<String, BoxError> {
    if raw.len() != 16 {
        return Err("a uuid has 16 bytes".into());
    }
    let text = hex::encode(raw);
    Ok([&text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]].join("-"))
}

/// TLS by the settings of every outbound connection.
struct Tls {
    connector: tokio_rustls::TlsConnector,
    host: String,
}

struct Encrypted(tokio_rustls::client::TlsStream<Wire>);

impl TlsConnect<Wire> for Tls {
    type Stream = Encrypted;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = std::io::Result<Encrypted>> + Send>>;

    fn connect(self, stream: Wire) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host).map_err(std::io::Error::other)?;
            self.connector.connect(name, stream).await.map(Encrypted)
        })
    }
}

impl TlsStream for Encrypted {
    fn channel_binding(&self) -> ChannelBinding {
        ChannelBinding::none()
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
