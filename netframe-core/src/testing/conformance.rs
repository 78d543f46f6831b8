//! Does a codec keep its promises? [`Conformance`] checks one against all of [`Property`], from
//! nothing but a way to make it and a [proptest] strategy for its items.
//!
//! It needs the feature `conformance`, meant for `[dev-dependencies]`.
//!
//! ```
//! use netframe_core::testing::conformance::{Conformance, proptest::prelude::*};
//! use tokio_util::codec::LinesCodec;
//!
//! Conformance::new(|| LinesCodec::new_with_max_length(500), "[a-z ]{0,200}")
//!     .long("x".repeat(400))
//!     .oversize("", b'x', 600) // a line without an end fails before 600 bytes of it are held
//!     .ends_at_eof() // the last line may lack its LF
//!     .check();
//! ```
//!
//! A codec that breaks a promise makes `check` panic with the name of the promise, the smallest
//! items and bytes that were found to show it, and how they were cut:
//!
//! ```
//! # use netframe_core::testing::conformance::{Conformance, Property, proptest::prelude::*};
//! # use netframe_core::bytes::Bytes;
//! use tokio_util::codec::BytesCodec;
//!
//! let chunks = prop::collection::vec(any::<u8>(), 1..100).prop_map(Bytes::from);
//! let violation = Conformance::new(BytesCodec::new, chunks).verify().unwrap_err();
//! assert_eq!(violation.property(), Property::Batch, "it keeps no borders");
//! ```
//!
//! # What is measured
//!
//! A decoder is watched from outside, through the buffer that it is given. What it keeps inside itself
//! is not seen, but in its answers.
//!
//! - *Memory* is the capacity that a call gives the buffer, and how many bytes of a frame without end
//!   are taken before it is an error.
//! - *Cost* is counted in bytes, not in time: those that calls move elsewhere in memory, and those
//!   long before the end of an unfinished frame that a call for one more byte still depends on, which
//!   shows when they are overwritten. A call that reads old bytes and does not care what they are is
//!   not noticed.

mod feed;
mod subject;
mod violation;

use std::fmt::{self, Debug};

use bytes::BytesMut;
pub use proptest;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use tokio_util::codec::{Decoder, Encoder};

use crate::protocol::Result;

use self::feed::{Broken, Feed, pieces};
pub use self::subject::FnCodec;
use self::subject::Subject;
use self::violation::Fault;
pub use self::violation::{Property, Violation};

/// Regions of an unfinished frame that are overwritten one by one.
const REGIONS: usize = 8;

/// So many may matter to the next call: a head that is parsed again costs the same each time.
const MAX_REGIONS: usize = 2;

/// Bytes on the wire that a frame needs to show what the next byte of it costs.
const MIN_LONG: usize = 64;

/// A codec under test: how to make it, what it carries, and what is known of its limits.
///
/// `F` is what it decodes to, which must be comparable to what it encodes. The codec may be any
/// [`Decoder`] and [`Encoder`]; a framer becomes one as [`FnCodec`].
pub struct Conformance<S: Strategy, F> {
    make: Box<Make<S::Value, F>>,
    items: S,
    cases: Option<u32>,
    long: Option<S::Value>,
    oversize: Option<Oversize>,
    rejected: Vec<Vec<u8>>,
    refused: Vec<S::Value>,
    ends_at_eof: bool,
    excepted: Vec<Property>,
}

type Make<I, F> = dyn Fn() -> Box<dyn Subject<I, F>>;

/// `start`, then `filler` for ever: an error before `ceiling` bytes.
struct Oversize {
    start: Vec<u8>,
    filler: u8,
    ceiling: usize,
}

impl<S, F> Conformance<S, F>
where
    S: Strategy<Value: Clone>,
    F: Debug + PartialEq + PartialEq<S::Value>,
{
    /// Describes the codecs that `make` makes, which carry `items`.
    ///
    /// The items are those that round-trip: a strategy for lines makes none that contain the
    /// delimiter. Give also what is known of the codec's [limits](Self::oversize), of what it
    /// [must not take](Self::rejects), and of [what it must not send](Self::refuses); without, the
    /// promises about these are not checked.
    pub fn new<C>(make: impl Fn() -> C + 'static, items: S) -> Self
    where
        C: Decoder<Item = F, Error: Debug> + Encoder<S::Value, Error: Debug> + 'static,
    {
        Self {
            make: Box::new(move || Box::new(make())),
            items,
            cases: None,
            long: None,
            oversize: None,
            rejected: Vec::new(),
            refused: Vec::new(),
            ends_at_eof: false,
            excepted: Vec::new(),
        }
    }

    /// Inputs that are tried for each property. Default: as proptest, 256 or what `PROPTEST_CASES`
    /// says.
    pub fn cases(mut self, cases: u32) -> Self {
        self.cases = Some(cases);
        self
    }

    /// An item of at least 64 bytes on the wire, better 1000, by which the cost is measured. Default:
    /// the longest of some that the strategy makes.
    pub fn long(mut self, item: S::Value) -> Self {
        self.long = Some(item);
        self
    }

    /// A frame that is too long: it begins with `start`, such as a declared length, and goes on with
    /// `filler` for ever. It must be an error before more than `ceiling` bytes of it are taken, and no
    /// input may make a call grow the buffer beyond `ceiling`.
    pub fn oversize(mut self, start: impl AsRef<[u8]>, filler: u8, ceiling: usize) -> Self {
        self.oversize = Some(Oversize { start: start.as_ref().to_vec(), filler, ceiling });
        self
    }

    /// Bytes that must be an error, by themselves and behind any valid frames. May be called for
    /// several.
    pub fn rejects(mut self, wire: impl AsRef<[u8]>) -> Self {
        self.rejected.push(wire.as_ref().to_vec());
        self
    }

    /// An item that the encoder must refuse. May be called for several.
    pub fn refuses(mut self, item: S::Value) -> Self {
        self.refused.push(item);
        self
    }

    /// The end of input ends the last frame, too. Such a codec cannot tell a frame that was cut off
    /// from a whole one, so that only the frames before are checked at a cut.
    pub fn ends_at_eof(mut self) -> Self {
        self.ends_at_eof = true;
        self
    }

    /// A promise that this codec is known not to keep, and that is not checked.
    pub fn except(mut self, property: Property) -> Self {
        self.excepted.push(property);
        self
    }

    /// Checks every promise.
    ///
    /// # Panics
    ///
    /// One is broken; the text is that of the [`Violation`].
    #[track_caller]
    pub fn check(&self) {
        if let Err(violation) = self.verify() {
            panic!("{violation}");
        }
    }

    /// Checks every promise, in the order of [`Property::ALL`].
    ///
    /// # Errors
    ///
    /// The first one that is broken, with the smallest input that was found to show it.
    pub fn verify(&self) -> Result<(), Violation> {
        let items = || (vec(&self.items, 1..5), vec(1..9_usize, 1..6));
        let few = self.case_count().min(32); // these try every place in the wire
        self.hunt(Property::RoundTrip, self.case_count(), items(), |(items, _)| {
            self.round_trip(items)
        })?;
        self.hunt(Property::Batch, self.case_count(), items(), |(items, _)| self.batch(items))?;
        self.hunt(Property::Splits, self.case_count(), items(), |(items, cuts)| {
            self.splits(items, cuts)
        })?;
        self.hunt(Property::Truncation, few, items(), |(items, _)| self.truncation(items))?;
        for wire in &self.rejected {
            self.hunt(Property::Rejection, few, items(), |(items, cuts)| {
                self.rejection(items, cuts, wire)
            })?;
        }
        if let Some(oversize) = &self.oversize {
            self.hunt(Property::Oversize, few, items(), |(items, cuts)| {
                self.oversized(items, cuts, oversize)
            })?;
        }
        self.hunt(Property::AfterError, few, items(), |(items, cuts)| {
            self.after_error(items, cuts)
        })?;
        let noise = vec((any::<usize>(), any::<u8>()), 0..4);
        let garbage =
            (vec(&self.items, 0..4), vec(1..9_usize, 1..6), noise, vec(any::<u8>(), 0..100));
        self.hunt(Property::Panic, self.case_count(), garbage, |(items, cuts, noise, tail)| {
            let mut wire = self.encode(items)?.0;
            for &(at, byte) in noise {
                let len = wire.len().max(1);
                wire.iter_mut().skip(at % len).take(1).for_each(|place| *place = byte);
            }
            wire.extend_from_slice(tail);
            self.garbage(&wire, cuts)
        })?;
        if let Some(found) = self.found(Property::Cost, || self.cost()) {
            return Err(self.violation(found, String::new()));
        }
        self.hunt(Property::EncodeError, self.case_count(), items(), |(items, _)| {
            items.iter().try_for_each(|item| self.encode_error(item, false))
        })?;
        for item in &self.refused {
            if let Some(found) = self.found(Property::EncodeError, || self.encode_error(item, true))
            {
                return Err(self.violation(found, format!("[{item:?}]")));
            }
        }
        Ok(())
    }

    /// Checks what holds for any bytes: no panic, no frames without end, the same frames however they
    /// are cut, and no large buffer. For a fuzz target; the first two bytes choose the cuts.
    ///
    /// # Panics
    ///
    /// One of these promises is broken.
    pub fn fuzz(&self, data: &[u8]) {
        let &[first, second, ref wire @ ..] = data else { return };
        let cuts = [first, second].map(|cut| 1 + usize::from(cut) % 32);
        if let Some(found) = self.found(Property::Panic, || self.garbage(wire, &cuts)) {
            panic!("{}", self.violation(found, String::new()));
        }
    }

    fn case_count(&self) -> u32 {
        self.cases.unwrap_or_else(|| Config::default().cases)
    }

    /// Looks for an input that breaks a promise, and makes it small.
    fn hunt<V: Debug>(
        &self,
        property: Property,
        cases: u32,
        inputs: impl Strategy<Value = V>,
        test: impl Fn(&V) -> Result<(), Found>,
    ) -> Result<(), Violation> {
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        let tested = TestRunner::new(config).run(&inputs, |input| {
            let found = self.found(property, || test(&input));
            found.map_or(Ok(()), |found| Err(TestCaseError::fail(found.1.text)))
        });
        match tested {
            Ok(()) => Ok(()),
            Err(TestError::Fail(_, input)) => {
                let found = self.found(property, || test(&input)).unwrap_or_else(|| {
                    (property, Fault::new("the same input breaks it only sometimes", b""))
                });
                Err(self.violation(found, format!("{input:?}")))
            }
            Err(TestError::Abort(reason)) => {
                let text = format!("the strategy gives no items: {reason}");
                Err(self.violation((property, Fault::new(text, b"")), String::new()))
            }
        }
    }

    /// What a test finds, as a promise that is broken.
    fn found(
        &self,
        property: Property,
        test: impl FnOnce() -> Result<(), Found>,
    ) -> Option<(Property, Fault)> {
        let (other, fault) = test().err()?;
        let property = other.unwrap_or(property);
        (!self.excepted.contains(&property)).then_some((property, fault))
    }

    fn violation(&self, (property, fault): (Property, Fault), items: String) -> Violation {
        Violation { property, fault, items }
    }

    fn feed(&self) -> Feed<'_, S::Value, F> {
        Feed::new((self.make)())
    }

    /// Feeds a wire in pieces to a new decoder, and then the end of input.
    fn decode(&self, wire: &[u8], cuts: &[usize]) -> Result<Feed<'_, S::Value, F>, Found> {
        let mut feed = self.feed();
        let pieces = pieces(wire, cuts);
        let fed = pieces.iter().try_for_each(|piece| match feed.failed {
            None => feed.push(piece),
            Some(_) => Ok(()),
        });
        fed.and_then(|()| feed.end()).map_err(|broken| blame(broken, wire, cuts))?;
        Ok(feed)
    }

    /// The items as one encoder writes them, and where each one ends.
    fn encode(&self, items: &[S::Value]) -> Result<(Vec<u8>, Vec<usize>), Found> {
        let (mut encoder, mut out, mut ends) = ((self.make)(), BytesMut::new(), Vec::new());
        for item in items {
            if let Err(error) = encoder.encode(item.clone(), &mut out) {
                let text = format!("the encoder refuses {item:?} of the strategy: {error}");
                return Err((None, Fault::new(text, &out)));
            }
            ends.push(out.len());
        }
        Ok((out.to_vec(), ends))
    }

    fn round_trip(&self, items: &[S::Value]) -> Result<(), Found> {
        for item in items {
            let item = std::slice::from_ref(item);
            let (wire, _) = self.encode(item)?;
            let decoded = self.decode(&wire, &[])?;
            same(&decoded, item, &wire, &[])?;
            if !decoded.buffer.is_empty() {
                let text = format!("{} bytes are left of one frame", decoded.buffer.len());
                return Err((None, Fault::new(text, &wire)));
            }
        }
        Ok(())
    }

    fn batch(&self, items: &[S::Value]) -> Result<(), Found> {
        let (wire, _) = self.encode(items)?;
        same(&self.decode(&wire, &[])?, items, &wire, &[])
    }

    fn splits(&self, items: &[S::Value], cuts: &[usize]) -> Result<(), Found> {
        let (wire, _) = self.encode(items)?;
        for cuts in [&[1][..], cuts] {
            same(&self.decode(&wire, cuts)?, items, &wire, cuts)?;
        }
        for first in 1..wire.len().min(64) {
            let cuts = [first, wire.len() - first];
            same(&self.decode(&wire, &cuts)?, items, &wire, &cuts)?;
        }
        Ok(())
    }

    fn truncation(&self, items: &[S::Value]) -> Result<(), Found> {
        let (wire, ends) = self.encode(items)?;
        // A long wire is cut at some places only, and around the ends of its frames.
        let step = wire.len() / 512 + 1;
        let near = |cut: &usize| ends.iter().any(|end| end.abs_diff(*cut) < 8);
        for cut in (0..wire.len()).filter(|cut| cut % step == 0 || near(cut)) {
            let (cut_wire, whole) = (&wire[..cut], ends.iter().filter(|end| **end <= cut).count());
            let mut feed = self.feed();
            let fault = |text: String| Err((None, Fault::new(text, cut_wire)));
            feed.push(cut_wire).map_err(|broken| blame(broken, cut_wire, &[]))?;
            if let Some(error) = &feed.failed {
                return fault(format!("an error before the end of input: {error}"));
            }
            if feed.frames.len() < whole || !begins(&feed.frames, items) {
                return fault(format!("decoded {:?} of {:?}", feed.frames, &items[..whole]));
            }
            let early = feed.frames.len();
            feed.end().map_err(|broken| blame(broken, cut_wire, &[]))?;
            let inside = early == whole && cut > whole.checked_sub(1).map_or(0, |last| ends[last]);
            let more = &feed.frames[early..];
            if more.len() > usize::from(self.ends_at_eof && inside) {
                return fault(format!("the end of input makes wrong frames: {more:?}"));
            }
            match &feed.failed {
                Some(error) if !inside => {
                    return fault(format!("the end of input between frames is an error: {error}"));
                }
                None if inside && !self.ends_at_eof => {
                    return fault("the end of input inside a frame is no error".into());
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn rejection(&self, items: &[S::Value], cuts: &[usize], bad: &[u8]) -> Result<(), Found> {
        for items in [&[], items] {
            let mut wire = self.encode(items)?.0;
            wire.extend_from_slice(bad);
            for cuts in [&[], cuts, &[1]] {
                let decoded = self.decode(&wire, cuts)?;
                if decoded.failed.is_none() {
                    let text = format!("no error; decoded {:?}", decoded.frames);
                    return Err((None, Fault::new(text, &wire).split(cuts)));
                }
                whole(&decoded, items, &wire, cuts)?;
            }
        }
        Ok(())
    }

    fn oversized(
        &self,
        items: &[S::Value],
        cuts: &[usize],
        oversize: &Oversize,
    ) -> Result<(), Found> {
        let mut before = self.encode(items)?.0;
        let valid = before.len();
        before.extend_from_slice(&oversize.start);
        let chunk = 1 + oversize.ceiling / 64;
        for piece in [chunk, 1 + chunk / cuts[0]] {
            let mut feed = self.feed();
            feed.push(&before).map_err(|broken| blame(broken, &before, &[]))?;
            let wire = |feed: &Feed<'_, S::Value, F>| {
                let filler = vec![oversize.filler; feed.fed - before.len()];
                [&before[..], &filler].concat()
            };
            while feed.failed.is_none() {
                if feed.fed - valid > oversize.ceiling {
                    let taken = feed.fed - valid;
                    let text = format!("{taken} bytes of a frame that is too long are no error");
                    return Err((None, Fault::new(text, &wire(&feed))));
                }
                let pushed = feed.push(&vec![oversize.filler; piece]);
                pushed.map_err(|broken| blame(broken, &wire(&feed), &[]))?;
            }
            whole(&feed, items, &wire(&feed), &[])?;
            self.reserved(&feed, &wire(&feed), &[])?;
        }
        Ok(())
    }

    /// Whether a call has made more of the buffer than is allowed.
    fn reserved(
        &self,
        feed: &Feed<'_, S::Value, F>,
        wire: &[u8],
        cuts: &[usize],
    ) -> Result<(), Found> {
        match &self.oversize {
            Some(oversize) if feed.reserved > oversize.ceiling.max(2 * wire.len()) => {
                let text = format!("a buffer of {} bytes for {}", feed.reserved, wire.len());
                Err((Some(Property::Oversize), Fault::new(text, wire).split(cuts)))
            }
            _ => Ok(()),
        }
    }

    fn after_error(&self, items: &[S::Value], cuts: &[usize]) -> Result<(), Found> {
        let oversized = self.oversize.iter().map(|oversize| {
            let filler = vec![oversize.filler; oversize.ceiling + 1];
            [&oversize.start[..], &filler].concat()
        });
        for bad in self.rejected.iter().cloned().chain(oversized) {
            let mut wire = self.encode(items)?.0;
            wire.extend_from_slice(&bad);
            for cuts in [&[], cuts] {
                let mut feed = self.feed();
                let mut test = || {
                    let mut before = None;
                    for piece in pieces(&wire, cuts) {
                        feed.append(piece);
                        // One call more than there are frames in it, and some to see what comes.
                        for _ in 0..items.len() + 4 {
                            feed.call(false)?;
                            if feed.failed.is_some() {
                                before.get_or_insert(feed.frames.len());
                            }
                        }
                    }
                    for _ in 0..4 {
                        if before.is_some() {
                            feed.call(true)?;
                        }
                    }
                    Ok(before)
                };
                let before = test().map_err(|broken| blame(broken, &wire, cuts))?;
                if let Some(before) = before
                    && feed.frames.len() > before
                {
                    let text = format!("after an error came {:?}", &feed.frames[before..]);
                    return Err((None, Fault::new(text, &wire).split(cuts)));
                }
            }
        }
        Ok(())
    }

    /// What holds for any bytes.
    fn garbage(&self, wire: &[u8], cuts: &[usize]) -> Result<(), Found> {
        let mut at_once = self.decode(wire, &[])?;
        self.reserved(&at_once, wire, &[])?;
        for cuts in [&[1][..], cuts] {
            let split = self.decode(wire, cuts)?;
            self.reserved(&split, wire, cuts)?;
            let outcome = (&split.frames, split.failed.is_some());
            if outcome != (&at_once.frames, at_once.failed.is_some()) {
                let text = format!(
                    "decoded {:?} ({:?}), but at once {:?} ({:?})",
                    split.frames, split.failed, at_once.frames, at_once.failed
                );
                return Err((Some(Property::Splits), Fault::new(text, wire).split(cuts)));
            }
        }
        // Whoever goes on after an error must not be made to panic, either.
        for eof in [false, false, true, true] {
            at_once.call(eof).map_err(|broken| blame(broken, wire, &[]))?;
        }
        Ok(())
    }

    fn cost(&self) -> Result<(), Found> {
        let wire = self.longest()?;
        if wire.len() < MIN_LONG {
            let text =
                format!("no item is long enough to tell: give one of {MIN_LONG} bytes to `long`");
            return Err((None, Fault::new(text, &wire)));
        }
        let all_at_once = wire.repeat(16);
        for (wire, cuts) in [(&wire, &[1][..]), (&all_at_once, &[])] {
            let feed = self.decode(wire, cuts)?;
            if feed.moved > 4 * wire.len() + 1024 {
                let text = format!("{} bytes are moved to decode {}", feed.moved, wire.len());
                return Err((None, Fault::new(text, wire).split(cuts)));
            }
        }
        let mut poisons: Vec<&[u8]> = vec![b"\n", b"\0", b"\xff"];
        poisons.extend((1..=4).map(|len| &wire[wire.len() - len..]));
        for len in [wire.len() / 2, wire.len() - 4] {
            for poison in &poisons {
                let mut seen = 0;
                for region in 0..REGIONS {
                    seen += usize::from(self.depends(&wire, len, region, poison)?);
                }
                if seen > MAX_REGIONS {
                    let text = format!(
                        "byte {len} of a frame is paid for with those before it: {seen} parts in \
                         {REGIONS} of them are looked at again, which b\"{}\" there shows",
                        poison.escape_ascii()
                    );
                    return Err((None, Fault::new(text, &wire).split(&[1])));
                }
            }
        }
        Ok(())
    }

    /// Whether what a decoder says of byte `len` of an unfinished frame changes when a part of those
    /// before it was overwritten.
    fn depends(
        &self,
        wire: &[u8],
        len: usize,
        region: usize,
        poison: &[u8],
    ) -> Result<bool, Found> {
        let mut feed = self.feed();
        for byte in wire[..len].chunks(1) {
            feed.push(byte).map_err(|broken| blame(broken, wire, &[1]))?;
        }
        if feed.failed.is_some() || !feed.frames.is_empty() {
            return Ok(false); // it does not wait for whole frames
        }
        // The last bytes may be a delimiter that has begun.
        let held = feed.buffer.len().saturating_sub(8);
        let part = held * region / REGIONS..held * (region + 1) / REGIONS;
        if part.len() < poison.len() {
            return Ok(false);
        }
        for (place, byte) in feed.buffer[part].iter_mut().zip(poison.iter().cycle()) {
            *place = *byte;
        }
        let pushed = feed.push(&wire[len..=len]);
        Ok(pushed.is_err() || feed.failed.is_some() || !feed.frames.is_empty())
    }

    /// The wire of the longest item that is known.
    fn longest(&self) -> Result<Vec<u8>, Found> {
        if let Some(item) = &self.long {
            return Ok(self.encode(std::slice::from_ref(item))?.0);
        }
        let mut runner = TestRunner::deterministic();
        let mut longest = Vec::new();
        for _ in 0..64 {
            if let Ok(tree) = self.items.new_tree(&mut runner) {
                let wire = self.encode(&[tree.current()])?.0;
                longest = if wire.len() > longest.len() { wire } else { longest };
            }
        }
        Ok(longest)
    }

    fn encode_error(&self, item: &S::Value, refused: bool) -> Result<(), Found> {
        const BEFORE: &[u8] = b"what is queued already";
        let mut out = BytesMut::from(BEFORE);
        let encoded = (self.make)().encode(item.clone(), &mut out);
        let fault = |text: &str| Err((None, Fault::new(text, &out)));
        match encoded {
            Ok(()) if refused => fault("the encoder takes an item that it must refuse"),
            Ok(()) if !out.starts_with(BEFORE) => {
                fault("the encoder changes what was there before")
            }
            Err(_) if out != BEFORE => fault("an error leaves a part of the item behind"),
            Err(_) if !refused => fault("the encoder refuses an item of the strategy"),
            _ => Ok(()),
        }
    }
}

impl<S: Strategy + Debug, F> Debug for Conformance<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conformance").field("items", &self.items).finish_non_exhaustive()
    }
}

/// What broke, and which promise if it is another than the one that was tested.
type Found = (Option<Property>, Fault);

fn blame(Broken(property, text): Broken, wire: &[u8], cuts: &[usize]) -> Found {
    (Some(property), Fault::new(text, wire).split(cuts))
}

/// The frames are the first of the items.
fn begins<F: PartialEq<I>, I>(frames: &[F], items: &[I]) -> bool {
    frames.len() <= items.len() && frames.iter().zip(items).all(|(frame, item)| frame == item)
}

/// The frames are the items, whatever came behind them.
fn whole<I: Debug, F: Debug + PartialEq<I>>(
    decoded: &Feed<'_, I, F>,
    items: &[I],
    wire: &[u8],
    cuts: &[usize],
) -> Result<(), Found> {
    if decoded.frames.len() == items.len() && begins(&decoded.frames, items) {
        return Ok(());
    }
    let text = format!("decoded {:?}, expected {items:?}", decoded.frames);
    Err((None, Fault::new(text, wire).split(cuts)))
}

/// The frames are the items, and that is all.
fn same<I: Debug, F: Debug + PartialEq<I>>(
    decoded: &Feed<'_, I, F>,
    items: &[I],
    wire: &[u8],
    cuts: &[usize],
) -> Result<(), Found> {
    whole(decoded, items, wire, cuts)?;
    match &decoded.failed {
        Some(error) => {
            let text = format!("an error behind the last frame: {error}");
            Err((None, Fault::new(text, wire).split(cuts)))
        }
        None => Ok(()),
    }
}
