//! The saved form of values that outlive the process: what call control writes into its journal.
//!
//! One trait, [`Keep`], says how a value is written and how it is read again. Its form stands beside each type, mostly
//! as a list of its fields in [`keep!`]; a field that is in the type and not in the list does not compile, so nobody
//! adds state and forgets that it has to survive.
//!
//! The form is dense and has no names: it is read by the program that wrote it, or by its successor, which tells by a
//! version in front whether it can. Whatever the bytes are, reading them ends in a value or in [`Damaged`], and never
//! takes more memory than a small multiple of their number.
//!
//! Moments of the monotonic clock mean nothing in another process. They are kept as wall time, by the [`Base`] that
//! writer and reader have each.

use bytes::Bytes;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A value that can be kept.
pub trait Keep: Sized {
    /// Writes the value.
    fn keep(&self, out: &mut Writer);

    /// Reads a value that was written.
    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged>;
}

/// Bytes that are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damaged {
    /// They end too early.
    Short,
    /// A value that there is not, of the type that is named.
    Value(&'static str),
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => f.write_str("the entry ends too early"),
            Self::Value(what) => write!(f, "the entry has a {what} that cannot be"),
        }
    }
}

impl std::error::Error for Damaged {}

/// One moment on both clocks, by which others are converted.
#[derive(Debug, Clone, Copy)]
pub struct Base {
    /// On the monotonic clock.
    pub now: Instant,
    /// In milliseconds since the Unix epoch.
    pub unix_ms: i64,
}

impl Base {
    /// A moment as wall time. The same moment gives the same number as long as the base stays.
    pub fn unix_ms_of(&self, at: Instant) -> i64 {
        let ms = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        match at.checked_duration_since(self.now) {
            Some(after) => self.unix_ms.saturating_add(ms(after)),
            None => self.unix_ms.saturating_sub(ms(self.now - at)),
        }
    }

    /// A wall time as a moment; what is over is as long ago as the clock can say. `None` when it is too far away to be
    /// meant.
    pub fn instant_of(&self, unix_ms: i64) -> Option<Instant> {
        let from_now_ms = unix_ms.checked_sub(self.unix_ms)?;
        let distance = Duration::from_millis(from_now_ms.unsigned_abs());
        if from_now_ms < 0 {
            return Some(self.now.checked_sub(distance).unwrap_or(self.now));
        }
        self.now
            .checked_add(distance)
            .filter(|_| distance <= FURTHEST)
    }
}

/// No moment that anything waits for is further away.
const FURTHEST: Duration = Duration::from_secs(400 * 86_400);

/// Where values are written to. It is used again and again, so that writing allocates nothing.
#[derive(Debug)]
pub struct Writer {
    bytes: Vec<u8>,
    base: Base,
}

impl Writer {
    /// An empty one.
    pub fn new(base: Base) -> Self {
        Self {
            bytes: Vec::new(),
            base,
        }
    }

    /// Goes on behind bytes that are there, for values without moments.
    pub fn over(bytes: Vec<u8>, base: Base) -> Self {
        Self { bytes, base }
    }

    /// What was written, to be used elsewhere.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Forgets what was written.
    pub fn clear(&mut self) {
        self.bytes.clear();
    }

    /// What was written.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The moment by which others are converted.
    pub fn base(&self) -> Base {
        self.base
    }

    /// Converts by another moment from now on.
    pub fn set_base(&mut self, base: Base) {
        self.base = base;
    }

    /// A single byte.
    #[inline]
    pub fn byte(&mut self, byte: u8) {
        self.bytes.push(byte);
    }

    /// A number, in fewer bytes the smaller it is.
    #[inline]
    pub fn number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }

    /// Bytes with their number in front.
    #[inline]
    pub fn slice(&mut self, slice: &[u8]) {
        self.number(slice.len() as u64);
        self.bytes.extend_from_slice(slice);
    }

    /// Bytes without their number.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Text.
    #[inline]
    pub fn text(&mut self, text: &str) {
        self.slice(text.as_bytes());
    }

    /// What `print` appends, with its length in front.
    pub fn printed(&mut self, print: impl FnOnce(&mut Vec<u8>)) {
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        print(&mut self.bytes);
        let length = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&length.to_le_bytes());
    }
}

/// What is left to be read of an entry.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    base: Base,
}

impl<'a> Reader<'a> {
    /// Reads these bytes.
    pub fn new(bytes: &'a [u8], base: Base) -> Self {
        Self { rest: bytes, base }
    }

    /// The moment by which others are converted.
    pub fn base(&self) -> Base {
        self.base
    }

    /// Whether all was read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// A single byte.
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        let (first, rest) = self.rest.split_first().ok_or(Damaged::Short)?;
        self.rest = rest;
        Ok(*first)
    }

    /// A number as [`Writer::number`] writes it.
    pub fn number(&mut self) -> Result<u64, Damaged> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits.checked_shl(shift).map(|it| it >> shift) != Some(bits) {
                break;
            }
            number |= bits << shift;
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(Damaged::Value("number"))
    }

    /// So many bytes.
    pub fn raw(&mut self, length: usize) -> Result<&'a [u8], Damaged> {
        let (slice, rest) = self.rest.split_at_checked(length).ok_or(Damaged::Short)?;
        self.rest = rest;
        Ok(slice)
    }

    /// Bytes as [`Writer::slice`] writes them.
    pub fn slice(&mut self) -> Result<&'a [u8], Damaged> {
        let length = usize::try_from(self.number()?).map_err(|_| Damaged::Short)?;
        self.raw(length)
    }

    /// Text.
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        std::str::from_utf8(self.slice()?).map_err(|_| Damaged::Value("text"))
    }

    /// Bytes as [`Writer::printed`] writes them.
    pub fn printed(&mut self) -> Result<&'a [u8], Damaged> {
        let length = self.raw(4)?.try_into().map_err(|_| Damaged::Short)?;
        self.raw(u32::from_le_bytes(length) as usize)
    }

    /// How many values follow. Each takes a byte at least.
    fn count(&mut self) -> Result<usize, Damaged> {
        let count = usize::try_from(self.number()?).map_err(|_| Damaged::Short)?;
        if count > self.rest.len() {
            return Err(Damaged::Short);
        }
        Ok(count)
    }
}

/// The form of a type as the list of its fields or variants.
///
/// Of a struct: the fields that are kept, and behind a semicolon those that are not, with what they are after a restart.
/// Of an enum: the variants with the byte that stands for each, which must not change its meaning.
///
/// ```
/// # use keep::{Base, Keep, Reader, Writer, keep};
/// #[derive(Debug, PartialEq)]
/// struct Door { open: bool, knocks: u32, listener: Option<String> }
/// keep!(struct Door { open, knocks; listener: None });
///
/// #[derive(Debug, PartialEq)]
/// enum Room { Hall, Floor(u8), Named { name: String } }
/// keep!(enum Room { 0 = Hall, 1 = Floor(number), 2 = Named { name } });
///
/// let base = Base { now: std::time::Instant::now(), unix_ms: 0 };
/// let mut out = Writer::new(base);
/// Door { open: true, knocks: 3, listener: Some("me".into()) }.keep(&mut out);
/// Room::Floor(2).keep(&mut out);
/// let mut input = Reader::new(out.bytes(), base);
/// assert_eq!(Door::kept(&mut input), Ok(Door { open: true, knocks: 3, listener: None }));
/// assert_eq!(Room::kept(&mut input), Ok(Room::Floor(2)));
/// ```
#[macro_export]
macro_rules! keep {
    (struct $type:ident { $($field:ident),* $(,)? $(; $($gone:ident: $value:expr),* $(,)?)? }) => {
        impl $crate::Keep for $type {
            fn keep(&self, out: &mut $crate::Writer) {
                let Self { $($field,)* $($($gone: _,)*)? } = self;
                $($crate::Keep::keep($field, out);)*
            }

            fn kept(input: &mut $crate::Reader<'_>) -> Result<Self, $crate::Damaged> {
                $(let $field = $crate::Keep::kept(input)?;)*
                Ok(Self { $($field,)* $($($gone: $value,)*)? })
            }
        }
    };
    (enum $type:ident { $($byte:literal = $variant:ident $(($($item:ident),+))? $({ $($field:ident),+ })?),+ $(,)? }) => {
        impl $crate::Keep for $type {
            fn keep(&self, out: &mut $crate::Writer) {
                match self {
                    $(Self::$variant $(($($item),+))? $({ $($field),+ })? => {
                        out.byte($byte);
                        $($($crate::Keep::keep($item, out);)+)?
                        $($($crate::Keep::keep($field, out);)+)?
                    })+
                }
            }

            fn kept(input: &mut $crate::Reader<'_>) -> Result<Self, $crate::Damaged> {
                match input.byte()? {
                    $($byte => {
                        $($(let $item = $crate::Keep::kept(input)?;)+)?
                        $($(let $field = $crate::Keep::kept(input)?;)+)?
                        Ok(Self::$variant $(($($item),+))? $({ $($field),+ })?)
                    })+
                    _ => Err($crate::Damaged::Value(stringify!($type))),
                }
            }
        }
    };
}

macro_rules! unsigned {
    ($($type:ty),*) => {$(
        impl Keep for $type {
            fn keep(&self, out: &mut Writer) {
                out.number(*self as u64);
            }

            fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
                Self::try_from(input.number()?).map_err(|_| Damaged::Value("number"))
            }
        }
    )*};
}

unsigned!(u16, u32, u64, usize);

impl Keep for u8 {
    fn keep(&self, out: &mut Writer) {
        out.byte(*self);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        input.byte()
    }
}

impl Keep for i64 {
    fn keep(&self, out: &mut Writer) {
        // The sign goes to the lowest bit, so that small numbers of either kind are short.
        out.number((*self << 1 ^ *self >> 63) as u64);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let number = input.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }
}

impl Keep for u128 {
    fn keep(&self, out: &mut Writer) {
        out.raw(&self.to_le_bytes());
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let bytes = input.raw(16)?.try_into().map_err(|_| Damaged::Short)?;
        Ok(Self::from_le_bytes(bytes))
    }
}

impl Keep for bool {
    fn keep(&self, out: &mut Writer) {
        out.byte((*self).into());
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        match input.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Damaged::Value("flag")),
        }
    }
}

impl Keep for String {
    fn keep(&self, out: &mut Writer) {
        out.text(self);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        input.text().map(str::to_owned)
    }
}

impl Keep for Cow<'static, str> {
    fn keep(&self, out: &mut Writer) {
        out.text(self);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        String::kept(input).map(Self::Owned)
    }
}

impl Keep for Bytes {
    fn keep(&self, out: &mut Writer) {
        out.slice(self);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        input.slice().map(Self::copy_from_slice)
    }
}

impl<T: Keep> Keep for Option<T> {
    fn keep(&self, out: &mut Writer) {
        self.is_some().keep(out);
        if let Some(value) = self {
            value.keep(out);
        }
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(match bool::kept(input)? {
            true => Some(T::kept(input)?),
            false => None,
        })
    }
}

impl<T: Keep> Keep for Box<T> {
    fn keep(&self, out: &mut Writer) {
        T::keep(self, out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        T::kept(input).map(Self::new)
    }
}

// Whoever shares a value has a copy of it afterwards.
impl<T: Keep> Keep for Arc<T> {
    fn keep(&self, out: &mut Writer) {
        T::keep(self, out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        T::kept(input).map(Self::new)
    }
}

impl<T: Keep> Keep for Vec<T> {
    fn keep(&self, out: &mut Writer) {
        out.number(self.len() as u64);
        self.iter().for_each(|value| value.keep(out));
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = input.count()?;
        // Grows with what is there, whatever the number says.
        let mut values = Self::with_capacity(count.min(16));
        for _ in 0..count {
            values.push(T::kept(input)?);
        }
        Ok(values)
    }
}

impl<T: Keep> Keep for VecDeque<T> {
    fn keep(&self, out: &mut Writer) {
        out.number(self.len() as u64);
        self.iter().for_each(|value| value.keep(out));
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Vec::kept(input).map(Self::from)
    }
}

impl<T: Keep, const N: usize> Keep for [T; N] {
    fn keep(&self, out: &mut Writer) {
        self.iter().for_each(|value| value.keep(out));
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut values = Vec::with_capacity(N);
        for _ in 0..N {
            values.push(T::kept(input)?);
        }
        values.try_into().map_err(|_| Damaged::Short)
    }
}

impl<A: Keep, B: Keep> Keep for (A, B) {
    fn keep(&self, out: &mut Writer) {
        self.0.keep(out);
        self.1.keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok((A::kept(input)?, B::kept(input)?))
    }
}

impl Keep for IpAddr {
    fn keep(&self, out: &mut Writer) {
        match self {
            Self::V4(ip) => {
                out.byte(4);
                out.raw(&ip.octets());
            }
            Self::V6(ip) => {
                out.byte(6);
                out.raw(&ip.octets());
            }
        }
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        match input.byte()? {
            4 => {
                let octets: [u8; 4] = input.raw(4)?.try_into().map_err(|_| Damaged::Short)?;
                Ok(Self::V4(Ipv4Addr::from(octets)))
            }
            6 => {
                let octets: [u8; 16] = input.raw(16)?.try_into().map_err(|_| Damaged::Short)?;
                Ok(Self::V6(Ipv6Addr::from(octets)))
            }
            _ => Err(Damaged::Value("address")),
        }
    }
}

impl Keep for SocketAddr {
    fn keep(&self, out: &mut Writer) {
        self.ip().keep(out);
        self.port().keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self::new(IpAddr::kept(input)?, u16::kept(input)?))
    }
}

impl Keep for Duration {
    fn keep(&self, out: &mut Writer) {
        out.number(u64::try_from(self.as_millis()).unwrap_or(u64::MAX));
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let duration = Self::from_millis(input.number()?);
        if duration > FURTHEST {
            return Err(Damaged::Value("duration"));
        }
        Ok(duration)
    }
}

impl Keep for Instant {
    fn keep(&self, out: &mut Writer) {
        out.base().unix_ms_of(*self).keep(out);
    }

    fn kept(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let unix_ms = i64::kept(input)?;
        let moment = input.base().instant_of(unix_ms);
        moment.ok_or(Damaged::Value("moment"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn base() -> Base {
        Base {
            now: Instant::now(),
            unix_ms: 1_795_176_000_000,
        }
    }

    #[track_caller]
    fn round<T: Keep + PartialEq + fmt::Debug>(value: T) {
        let base = base();
        let mut out = Writer::new(base);
        value.keep(&mut out);
        let mut input = Reader::new(out.bytes(), base);
        assert_eq!(T::kept(&mut input).as_ref(), Ok(&value));
        assert!(input.is_empty(), "{value:?} leaves {input:?}");
        for length in 0..out.bytes().len() {
            let mut cut = Reader::new(&out.bytes()[..length], base);
            assert!(
                T::kept(&mut cut).is_err(),
                "{value:?} of {length} bytes is one too"
            );
        }
    }

    #[test]
    fn what_is_written_is_read_and_a_part_of_it_is_damaged() {
        for number in [0, 1, 127, 128, u64::MAX] {
            round(number);
        }
        for number in [0, 1, -1, i64::MIN, i64::MAX] {
            round(number);
        }
        round((u16::MAX, u128::MAX));
        round(vec![Some("text".to_owned()), None]);
        round([Duration::from_millis(1), Duration::ZERO]);
        round::<SocketAddr>("[2001:db8::1]:5060".parse().unwrap());
        round::<IpAddr>("192.0.2.1".parse().unwrap());
        round(VecDeque::from([Bytes::from_static(b"\0\xff")]));
    }

    #[test]
    fn a_moment_is_the_same_on_the_wall_of_another_process() {
        let before = base();
        let mut out = Writer::new(before);
        (before.now + Duration::from_secs(90)).keep(&mut out);
        // Five seconds later, with a monotonic clock that counts from somewhere else.
        let after = Base {
            now: before.now + Duration::from_secs(1_000),
            unix_ms: before.unix_ms + 5_000,
        };
        let read = Instant::kept(&mut Reader::new(out.bytes(), after));
        assert_eq!(read, Ok(after.now + Duration::from_secs(85)));
    }

    proptest! {
        #[test]
        fn no_bytes_are_read_without_end(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            type Everything = Vec<(Option<String>, (Vec<Instant>, (i64, VecDeque<SocketAddr>)))>;
            let _ = Everything::kept(&mut Reader::new(&bytes, base()));
        }
    }
}
