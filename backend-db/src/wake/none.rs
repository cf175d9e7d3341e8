//! Nobody tells: waiters ask now and then.

use std::any::Any;
use std::time::Duration;

use tenure_core::Result;

use super::Wake;
use crate::key::Key;

pub(crate) struct Silent;

impl Wake for Silent {
    fn needs_marks(&self) -> bool {
        false
    }

    fn watch(&self, _: &Key, _: &str, _: Duration) -> Result<Option<Box<dyn Any + Send + Sync>>> {
        Ok(None)
    }

    fn released(&self, _: &Key, _: bool) {}
}
