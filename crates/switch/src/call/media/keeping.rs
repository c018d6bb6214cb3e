//! What of a call's media outlives the process, and relays opened again on the ports that they had; and the same form
//! for media at rest, whose relays stay as they are.

use super::lines::{Line, LineState};
use super::recorded::Recorded;
use super::secure::Secure;
use super::{CallKey, CallMedia};
use crate::core::Core;
use ::media::dtls::Fingerprint;
use ::media::relay::{Command, RelayId, Told};
use keep::{Damaged, Keep, Reader, Writer};
use std::net::SocketAddr;
use std::time::Duration;

/// The media of a call as they are read.
pub(crate) struct KeptMedia {
    media: CallMedia,
    /// What the relay of each line was told, by slot.
    told: Vec<Option<Told>>,
}

impl CallMedia {
    /// Whether relays are being opened: until that is done there is nothing to keep, and it is done at once.
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting.is_some()
    }

    /// Whether another process cannot go on with them.
    pub(crate) fn ends_with_process(&self) -> bool {
        self.secure.is_shaken()
    }

    /// Writes all but what a call that goes on has no use for.
    pub(crate) fn keep(&self, core: &Core, out: &mut Writer) {
        let Self {
            call: _,
            asked,
            path,
            slots,
            secure,
            lines,
            spent: _,
            a,
            b,
            offered,
            heard,
            widened,
            transcoded,
            confirmed,
            rings,
            waiting: _,
            recorded: _,
            early_answer,
            timeout,
        } = self;
        asked.keep(out);
        path.keep(out);
        slots.keep(out);
        secure.keep(out);
        lines.keep(out);
        a.keep(out);
        b.keep(out);
        // Once the call is up, an offer that was answered is not answered again.
        let open = offered.as_ref();
        match open.filter(|offered| !(offered.answered && *confirmed)) {
            Some(offered) => {
                out.byte(1);
                offered.keep(out);
            }
            None => out.byte(0),
        }
        heard.keep(out);
        widened.keep(out);
        transcoded.keep(out);
        confirmed.keep(out);
        rings.keep(out);
        early_answer.keep(out);
        timeout.keep(out);
        for line in lines {
            match line.as_ref().and_then(|line| core.told(line.relay)) {
                Some(told) => {
                    out.byte(1);
                    told.keep(out);
                }
                None => out.byte(0),
            }
        }
    }
}

impl CallMedia {
    /// Whether nothing is under way, and what is written is all that there is to them.
    pub(crate) fn may_rest(&self) -> bool {
        let open = |line: &Line| line.state == LineState::Open && line.stats.is_none();
        self.waiting.is_none()
            && self.offered.is_none()
            && self.early_answer.is_none()
            && self.spent.is_empty()
            && self.lines.iter().flatten().all(open)
            && !self.secure.is_more_than_kept()
    }

    /// Writes the media of a call that goes to rest, and what its relays were told. Not what is recorded, which is
    /// given back.
    pub(crate) fn rest(&self, core: &mut Core, out: &mut Writer) -> Option<Recorded> {
        self.keep(core, out);
        for line in self.lines.iter().flatten() {
            core.set_told(line.relay, Told::default());
        }
        self.recorded
    }

    /// Reads what [`rest`](Self::rest) has written.
    pub(crate) fn wake(
        input: &mut Reader<'_>,
        core: &mut Core,
        call: CallKey,
        recorded: Option<Recorded>,
    ) -> Result<Self, Damaged> {
        let KeptMedia { mut media, told } =
            KeptMedia::kept(input, call, core.config.dtls_fingerprint)?;
        media.recorded = recorded;
        for (line, told) in media.lines.iter().zip(told) {
            if let (Some(line), Some(told)) = (line, told) {
                core.set_told(line.relay, told);
            }
        }
        Ok(media)
    }
}

impl KeptMedia {
    /// Reads what [`CallMedia::keep`] has written. `call` has them from now on; `ours` names our certificate.
    pub(crate) fn kept(
        input: &mut Reader<'_>,
        call: CallKey,
        ours: Fingerprint,
    ) -> Result<Self, Damaged> {
        let media = CallMedia {
            call,
            asked: Keep::kept(input)?,
            path: Keep::kept(input)?,
            slots: Keep::kept(input)?,
            secure: Secure::kept(input, ours)?,
            lines: Keep::kept(input)?,
            spent: Vec::new(),
            a: Keep::kept(input)?,
            b: Keep::kept(input)?,
            offered: Keep::kept(input)?,
            heard: Keep::kept(input)?,
            widened: Keep::kept(input)?,
            transcoded: Keep::kept(input)?,
            confirmed: Keep::kept(input)?,
            rings: Keep::kept(input)?,
            waiting: None,
            recorded: None,
            early_answer: Keep::kept(input)?,
            timeout: Keep::kept(input)?,
        };
        if media.lines.len() > super::MAX_LINES || !media.slots.is_sound() {
            return Err(Damaged::Value("media"));
        }
        let mut told = Vec::with_capacity(media.lines.len());
        for _ in &media.lines {
            told.push(Option::kept(input)?);
        }
        Ok(Self { media, told })
    }

    /// The relays that are to be opened again.
    pub(crate) fn relays(&self) -> impl Iterator<Item = RelayId> {
        self.media.lines.iter().flatten().map(|line| line.relay)
    }

    /// The same media without relays, for a call that does not go on.
    pub(crate) fn without_relays(mut self) -> CallMedia {
        for line in self.media.lines.iter_mut().flatten() {
            line.state = LineState::Closed;
        }
        self.media
    }

    /// Asks for the ports that there were, and says again what was said.
    pub(crate) fn resume(self, core: &mut Core) -> CallMedia {
        let Self { mut media, told } = self;
        let (a, b, timeout) = (media.a.bind, media.b.bind, media.timeout);
        let mut first = true;
        for (line, told) in media.lines.iter_mut().zip(told) {
            let Some(line) = line else { continue };
            if line.state != LineState::Open {
                line.state = LineState::Closed;
                continue;
            }
            let timeout = match std::mem::take(&mut first) {
                true => timeout,
                false => Duration::ZERO,
            };
            let Line {
                relay,
                a_port,
                b_port,
                traffic,
                ..
            } = *line;
            core.adopt_relay(relay, media.call);
            core.media(Command::Reopen {
                relay,
                a: SocketAddr::new(a, a_port),
                b: SocketAddr::new(b, b_port),
                timeout,
                traffic,
            });
            let commands = told.map(|told| told.commands(relay, core.base));
            for command in commands.and_then(Result::ok).into_iter().flatten() {
                core.media(command);
            }
        }
        if media.transcoded {
            core.transcoded_calls += 1;
        }
        media
    }
}
