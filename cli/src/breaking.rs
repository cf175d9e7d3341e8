//! `tenure break`: takes a lock away from its holder.

use tenure::{Breaking, Holder, Name};

use crate::args::Break;
use crate::failure::{Failure, warn};
use crate::show::{plain, print, rough};
use crate::status::since;
use crate::store::Store;

/// The status if there was nothing to break.
const FREE: u8 = 1;

pub(crate) fn run(wanted: &Break, store: Option<&str>) -> Result<u8, Failure> {
    let name = Name::new(wanted.name.as_str())?;
    let store = Store::open(store)?;
    let inspect = store.inspect()?;
    let breaking = if wanted.now { Breaking::Now } else { Breaking::Safe };
    let Some(holder) = inspect.force_release(&name, breaking, &wanted.reason)? else {
        warn(&format!("{:?} is free; there is nothing to break", name.as_str()));
        return Ok(FREE);
    };
    let rest = match inspect.inspect(&name)?.filter(|now| now.breaking().is_some()) {
        Some(waiting) => outstanding(&waiting),
        None if wanted.now => {
            "it is open now, although the holder may still be at work: only fences keep the two apart".into()
        }
        None => "it is open now".into(),
    };
    print(&format!("broke {}, {}; {rest}\n", plain(name.as_str()), describe(&holder)))?;
    Ok(0)
}

fn describe(holder: &Holder) -> String {
    let label = Some(plain(holder.label())).filter(|label| !label.is_empty());
    let label = label.unwrap_or_else(|| "an unknown holder".into());
    let since = since(holder).map(|since| format!(" since {since}")).unwrap_or_default();
    format!("held by {label}{since}, fence {}", holder.fence())
}

fn outstanding(waiting: &Holder) -> String {
    match waiting.remaining() {
        Some(left) => {
            format!("it opens when the holder lets go, or its lease ends in {} at the latest", rough(left))
        }
        None => "it opens when the holder lets go or ends".into(),
    }
}
