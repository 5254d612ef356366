//! chDB through its C functions.
//!
//! Why this is sound:
//! - The signatures below are those of `chdb.h` of the one version that `fetch-chdb.sh` installs, by its checksum.
//! - An [`Engine`] is neither `Send` nor `Sync` (it holds a raw pointer), so one thread makes all calls, one after another:
//!   chDB asks for no more.
//! - The library is never unloaded and the connection never closed, so function pointers and connection stay valid until
//!   the process ends.
//! - Every text goes in with its length and is only read during the call. What comes out belongs to a result or a stream;
//!   it is copied before that is freed, and each is freed once, by the guard that owns it.
#![expect(unsafe_code, reason = "chDB is a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;
use std::ptr::NonNull;

use anyhow::{Context as _, bail};
use libloading::Library;

/// `chdb_connection`, `chdb_result *` and `chdb_insert_stream`: only passed back.
type Handle = *mut c_void;

macro_rules! functions {
    ($($name:ident: fn($($argument:ty),*) $(-> $result:ty)?;)+) => {
        /// The functions of the library that are used.
        struct Functions {
            $($name: unsafe extern "C" fn($($argument),*) $(-> $result)?,)+
        }

        impl Functions {
            /// Finds them all.
            fn find(library: &'static Library) -> anyhow::Result<Self> {
                // SAFETY: the types are those of the header; see the module.
                $(let $name = *unsafe { library.get(stringify!($name)) }.context(stringify!($name))?;)+
                Ok(Self { $($name),+ })
            }
        }
    };
}

functions! {
    chdb_set_signal_handlers_enabled: fn(c_int);
    chdb_connect: fn(c_int, *mut *mut c_char) -> *mut Handle;
    chdb_query_n: fn(Handle, *const c_char, usize, *const c_char, usize) -> Handle;
    chdb_result_buffer: fn(Handle) -> *mut c_char;
    chdb_result_length: fn(Handle) -> usize;
    chdb_result_error: fn(Handle) -> *const c_char;
    chdb_destroy_query_result: fn(Handle);
    chdb_stream_insert_n: fn(Handle, *const c_char, usize, *const c_char, usize) -> Handle;
    chdb_stream_insert_error: fn(Handle) -> *const c_char;
    chdb_stream_append: fn(Handle, *const c_char, usize) -> c_int;
    chdb_stream_done: fn(Handle) -> Handle;
    chdb_destroy_insert_stream: fn(Handle);
}

/// An open database folder. One process can have one.
pub(crate) struct Engine {
    functions: Functions,
    connection: Handle,
}

/// Frees a handle at the end of its scope.
struct Guard {
    handle: Handle,
    free: unsafe extern "C" fn(Handle),
}

impl Drop for Guard {
    fn drop(&mut self) {
        // SAFETY: the handle is chDB's, fits the function, and this guard is the only one to free it.
        unsafe { (self.free)(self.handle) }
    }
}

impl Engine {
    /// Loads the library and opens a folder.
    pub(crate) fn open(library: &Path, folder: &Path) -> anyhow::Result<Self> {
        let advice = || format!("cannot load {}; fetch it: bench/stack/clickhouse/fetch-chdb.sh", library.display());
        // SAFETY: its initialisers run; it is the file that `fetch-chdb.sh` checked.
        let library: &'static Library = Box::leak(Box::new(unsafe { Library::new(library) }.with_context(advice)?));
        let functions = Functions::find(library)?;
        // SAFETY: nothing else has begun to use the library. Without its handlers a signal ends this process as usual.
        unsafe { (functions.chdb_set_signal_handlers_enabled)(0) };
        let path = folder.to_str().context("the folder's name must be UTF-8")?;
        let arguments = [CString::new("chdb")?, CString::new(format!("--path={path}"))?];
        let mut pointers = arguments.each_ref().map(|argument| argument.as_ptr().cast_mut());
        let count = c_int::try_from(pointers.len())?;
        // SAFETY: `count` texts that end in zero and outlive the call; it does not write to them.
        let opened = unsafe { (functions.chdb_connect)(count, pointers.as_mut_ptr()) };
        let Some(opened) = NonNull::new(opened) else { bail!("chDB cannot open {path}; another process may have it") };
        // SAFETY: what is not null points to the connection, which is never closed.
        let connection = unsafe { opened.read() };
        Ok(Self { functions, connection })
    }

    /// Runs a statement and returns its rows in a format.
    pub(crate) fn query(&self, sql: &[u8], format: &str) -> Result<Vec<u8>, String> {
        let (sql_start, format_start) = (sql.as_ptr().cast(), format.as_ptr().cast());
        // SAFETY: both texts are given with their lengths and outlive the call.
        let result =
            unsafe { (self.functions.chdb_query_n)(self.connection, sql_start, sql.len(), format_start, format.len()) };
        self.take(result)
    }

    /// Inserts rows that are in a format. `sql` ends before the word FORMAT.
    pub(crate) fn insert(&self, sql: &str, format: &str, rows: &[u8]) -> Result<(), String> {
        let (sql_start, format_start) = (sql.as_ptr().cast(), format.as_ptr().cast());
        // SAFETY: both texts are given with their lengths and outlive the call.
        let stream = unsafe {
            (self.functions.chdb_stream_insert_n)(self.connection, sql_start, sql.len(), format_start, format.len())
        };
        if stream.is_null() {
            return Err("chDB gave no stream".into());
        }
        let stream = Guard { handle: stream, free: self.functions.chdb_destroy_insert_stream };
        self.stream_error(&stream)?;
        // SAFETY: the stream is open, and the rows are given with their length.
        let refused = unsafe { (self.functions.chdb_stream_append)(stream.handle, rows.as_ptr().cast(), rows.len()) };
        if refused != 0 {
            self.stream_error(&stream)?;
            return Err("chDB refused the rows".into());
        }
        // SAFETY: the stream is open; its guard frees it afterwards, as chDB wants it.
        let result = unsafe { (self.functions.chdb_stream_done)(stream.handle) };
        self.take(result).map(drop)
    }

    fn stream_error(&self, stream: &Guard) -> Result<(), String> {
        // SAFETY: the stream has not been freed.
        let error = unsafe { (self.functions.chdb_stream_insert_error)(stream.handle) };
        text(error).map_or(Ok(()), Err)
    }

    /// Copies a result's rows or error, and frees it.
    fn take(&self, result: Handle) -> Result<Vec<u8>, String> {
        if result.is_null() {
            return Err("chDB gave no result".into());
        }
        let result = Guard { handle: result, free: self.functions.chdb_destroy_query_result };
        // SAFETY: the result has not been freed.
        if let Some(error) = text(unsafe { (self.functions.chdb_result_error)(result.handle) }) {
            return Err(error);
        }
        // SAFETY: as above.
        let length = unsafe { (self.functions.chdb_result_length)(result.handle) };
        // SAFETY: as above.
        let Some(start) = NonNull::new(unsafe { (self.functions.chdb_result_buffer)(result.handle) }) else {
            return Ok(vec![]);
        };
        // SAFETY: a result's buffer is as long as it says, and lives until the result is freed.
        Ok(unsafe { std::slice::from_raw_parts(start.as_ptr().cast::<u8>(), length) }.to_vec())
    }
}

/// A copy of one of chDB's texts; `None` when there is none.
fn text(start: *const c_char) -> Option<String> {
    if start.is_null() {
        return None;
    }
    // SAFETY: chDB's texts end in zero and live until what they belong to is freed, which both callers do later.
    Some(unsafe { CStr::from_ptr(start) }.to_string_lossy().into_owned())
}
