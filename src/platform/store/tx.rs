//! A transaction in hand: a connection, an instant, ids.

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, params_from_iter};
use tokio::sync::Notify;

use super::error::{from_sqlite, statement_problem};
use super::journal::Draft;
use super::value::{FromValue, Value, column_problem};
use crate::base::clock::Clock;
use crate::base::id::{Ids, TypedId};
use crate::base::problem::Problem;
use crate::base::time::Timestamp;

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether this thread is inside a transaction's closure.
pub(super) fn inside_closure() -> bool {
    INSIDE.get()
}

/// Something to do once the batch is committed.
pub(super) type AfterCommit = Box<dyn FnOnce() + Send>;

/// An open transaction. Its `now` was fixed when it opened.
pub struct Tx<'c> {
    conn: &'c Connection,
    now: Timestamp,
    clock: &'c dyn Clock,
    ids: &'c dyn Ids,
    drafts: RefCell<Vec<Draft>>,
    after: RefCell<Vec<AfterCommit>>,
    doorbell: Option<&'c Arc<Notify>>,
}

impl std::fmt::Debug for Tx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tx").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<'c> Tx<'c> {
    pub(super) fn new(conn: &'c Connection, clock: &'c dyn Clock, ids: &'c dyn Ids) -> Self {
        let now = clock.now();
        Self { conn, now, clock, ids, drafts: RefCell::default(), after: RefCell::default(), doorbell: None }
    }

    /// The same transaction, able to ring its store's doorbell.
    pub(super) fn with_doorbell(self, doorbell: &'c Arc<Notify>) -> Self {
        Self { doorbell: Some(doorbell), ..self }
    }

    /// Runs a closure with this transaction, marking the thread.
    pub(super) fn enter<T>(&self, f: impl FnOnce(&Self) -> Result<T, Problem>) -> Result<T, Problem> {
        struct Reset;
        impl Drop for Reset {
            fn drop(&mut self) {
                INSIDE.set(false);
            }
        }
        INSIDE.set(true);
        let _reset = Reset;
        match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| f(self))) {
            Ok(result) => result,
            Err(panic) => {
                let text = panic
                    .downcast_ref::<String>()
                    .map(String::as_str)
                    .or_else(|| panic.downcast_ref::<&str>().copied())
                    .unwrap_or("no message");
                Err(Problem::internal(format!("panic in a transaction: {text}")))
            }
        }
    }

    pub(super) fn into_effects(self) -> (Vec<Draft>, Vec<AfterCommit>) {
        (self.drafts.into_inner(), self.after.into_inner())
    }

    /// The transaction's instant.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How far the clock has left a steady one, in milliseconds. It is read when it is asked for, after
    /// [`Tx::now`]: what moved that instant is in it.
    pub fn drift_ms(&self) -> i64 {
        self.clock.drift_ms()
    }

    /// Takes a drift of the clock for right, at once and whether this transaction commits or not.
    pub fn accept_drift(&self, drift_ms: i64) {
        self.clock.accept_drift(drift_ms);
    }

    /// A new id of the wanted type.
    pub fn new_id<I: TypedId>(&self) -> I {
        I::generate(self.now, self.ids)
    }

    /// Fresh random bits, for salts.
    pub fn random(&self) -> u128 {
        self.ids.next_random()
    }

    /// Runs a statement; answers how many rows it changed.
    pub fn execute(&self, sql: &str, params: &[Value]) -> Result<usize, Problem> {
        let mut statement = self.prepare(sql)?;
        statement
            .execute(params_from_iter(params))
            .map_err(|e| statement_problem(&e, sql))
    }

    /// All rows, each turned into a `T`.
    pub fn query<T>(
        &self,
        sql: &str,
        params: &[Value],
        mut map: impl FnMut(&Row<'_>) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let mut statement = self.prepare(sql)?;
        let mut rows =
            statement.query(params_from_iter(params)).map_err(|e| statement_problem(&e, sql))?;
        let mut out = Vec::new();
        while let Some(row) = rows.next().map_err(|e| statement_problem(&e, sql))? {
            out.push(map(&Row { row })?);
        }
        Ok(out)
    }

    /// Shows each row to `each` where it stands, until it says that it has seen enough: for what is too much to hold.
    pub fn each(
        &self,
        sql: &str,
        params: &[Value],
        mut each: impl FnMut(&Row<'_>) -> Result<ControlFlow<()>, Problem>,
    ) -> Result<(), Problem> {
        let mut statement = self.prepare(sql)?;
        let mut rows =
            statement.query(params_from_iter(params)).map_err(|e| statement_problem(&e, sql))?;
        while let Some(row) = rows.next().map_err(|e| statement_problem(&e, sql))? {
            if each(&Row { row })?.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// The first row, if there is one.
    pub fn query_opt<T>(
        &self,
        sql: &str,
        params: &[Value],
        map: impl FnOnce(&Row<'_>) -> Result<T, Problem>,
    ) -> Result<Option<T>, Problem> {
        let mut statement = self.prepare(sql)?;
        let mut rows =
            statement.query(params_from_iter(params)).map_err(|e| statement_problem(&e, sql))?;
        match rows.next().map_err(|e| statement_problem(&e, sql))? {
            Some(row) => map(&Row { row }).map(Some),
            None => Ok(None),
        }
    }

    /// The one value of a one-row, one-column query.
    pub fn scalar<T: FromValue>(&self, sql: &str, params: &[Value]) -> Result<T, Problem> {
        self.query_opt(sql, params, |row| row.at(0))?
            .ok_or_else(|| Problem::internal(format!("no row from: {sql}")))
    }

    /// Puts an entry on the list that the journal appends just before COMMIT.
    pub fn stage(&self, draft: Draft) {
        self.drafts.borrow_mut().push(draft);
    }

    /// Runs `f` so that a failure takes back what `f` changed and staged, and nothing else.
    ///
    /// The error of `f` is the answer; when the transaction itself is gone, that is reported instead,
    /// and the caller must not go on.
    pub fn savepoint<T>(&self, f: impl FnOnce(&Self) -> Result<T, Problem>) -> Result<Result<T, Problem>, Problem> {
        let exec = |sql: &str| self.conn.execute_batch(sql).map_err(|e| from_sqlite(&e, sql));
        let marks = (self.drafts.borrow().len(), self.after.borrow().len());
        exec("SAVEPOINT inner_part")?;
        match f(self) {
            Ok(value) => {
                exec("RELEASE inner_part")?;
                Ok(Ok(value))
            }
            Err(problem) if self.conn.is_autocommit() => Err(problem),
            Err(problem) => {
                exec("ROLLBACK TO inner_part; RELEASE inner_part")?;
                self.drafts.borrow_mut().truncate(marks.0);
                self.after.borrow_mut().truncate(marks.1);
                Ok(Err(problem))
            }
        }
    }

    /// Runs `f` after the COMMIT, never when this transaction is rolled back.
    pub fn after_commit(&self, f: impl FnOnce() + Send + 'static) {
        self.after.borrow_mut().push(Box::new(f));
    }

    /// Rings [`Store::doorbell`](super::Store::doorbell) after the COMMIT: there is background work.
    pub fn ring_after_commit(&self) {
        if let Some(doorbell) = self.doorbell {
            let doorbell = Arc::clone(doorbell);
            self.after_commit(move || doorbell.notify_one());
        }
    }

    fn prepare(&self, sql: &str) -> Result<CachedStatement<'_>, Problem> {
        self.conn.prepare_cached(sql).map_err(|e| from_sqlite(&e, sql))
    }
}

/// One row of an answer.
#[derive(Debug)]
pub struct Row<'r> {
    row: &'r rusqlite::Row<'r>,
}

impl Row<'_> {
    /// The column with this name.
    pub fn get<T: FromValue>(&self, column: &str) -> Result<T, Problem> {
        let value = self.row.get_ref(column).map_err(|e| column_problem(column, &e.to_string()))?;
        T::from_value(value).map_err(|why| column_problem(column, &why))
    }

    /// The column at this place, counted from 0.
    pub fn at<T: FromValue>(&self, index: usize) -> Result<T, Problem> {
        let value = self
            .row
            .get_ref(index)
            .map_err(|e| column_problem(&index.to_string(), &e.to_string()))?;
        T::from_value(value).map_err(|why| column_problem(&index.to_string(), &why))
    }

    /// The bytes at this place, where they stand; `None` for NULL.
    pub fn bytes(&self, index: usize) -> Result<Option<&[u8]>, Problem> {
        let value = self.row.get_ref(index).map_err(|e| column_problem(&index.to_string(), &e.to_string()))?;
        value.as_blob_or_null().map_err(|e| column_problem(&index.to_string(), &e.to_string()))
    }

    /// The text at this place, where it stands.
    pub fn text(&self, index: usize) -> Result<&str, Problem> {
        let value = self.row.get_ref(index).map_err(|e| column_problem(&index.to_string(), &e.to_string()))?;
        value.as_str().map_err(|e| column_problem(&index.to_string(), &e.to_string()))
    }
}
