//! Questions that only the running switch can answer.

use crate::Bus;
use model::{ConnectionKey, CountersNow, DomainCalls, ExplainRequest, Explanation, PeerState};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

/// Questions that may wait for the answerer; more are refused.
pub const MAX_QUESTIONS_QUEUED: usize = 256;
/// How long an asker waits.
pub const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A question.
#[derive(Debug, Clone, PartialEq)]
pub enum Question {
    /// Where would this call go, and why?
    Explain(ExplainRequest),
    /// How many calls do these connections carry?
    Counters(Vec<ConnectionKey>),
    /// How many calls do these domains have up?
    DomainCalls(Vec<String>),
    /// How does it stand with the peers of these connections?
    Peers(Vec<ConnectionKey>),
    /// Does the switch take calls?
    Health,
}

/// The answer to the question of the same name.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// The decision path.
    Explain(Box<Explanation>),
    /// One reading per connection asked for, in that order; zeros where no call ever was.
    Counters(Vec<CountersNow>),
    /// One reading per domain asked for, in that order; zeros where no call ever was.
    DomainCalls(Vec<DomainCalls>),
    /// One state per connection asked for, in that order; empty where the switch does not know the connection.
    Peers(Vec<PeerState>),
    /// How the switch is.
    Health(Health),
}

/// How the switch is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Health {
    /// Whether new calls are taken: false while starting, draining or broken.
    pub ready: bool,
    /// Calls that are up.
    pub active_calls: u64,
    /// One sentence for people, such as what is missing.
    pub detail: String,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AskError {
    /// Nobody answers: the switch is not running.
    Nobody,
    /// Too many questions wait already.
    Busy,
    /// The answerer let the question fall.
    NotAnswered,
    /// It took longer than [`ANSWER_TIMEOUT`].
    TooLate,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nobody => "the switch is not running",
            Self::Busy => "the switch has too many questions to answer",
            Self::NotAnswered => "the switch did not answer the question",
            Self::TooLate => "the switch did not answer in time",
        })
    }
}

impl std::error::Error for AskError {}

/// Somebody answers on this bus already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SomebodyAnswers;

impl fmt::Display for SomebodyAnswers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("somebody answers questions on this bus already")
    }
}

impl std::error::Error for SomebodyAnswers {}

/// A question on its way to the answerer. Letting it fall tells the asker that there is no answer.
#[derive(Debug)]
pub struct Asked {
    /// What is asked.
    pub question: Question,
    reply: oneshot::Sender<Answer>,
}

impl Asked {
    /// Gives the answer.
    pub fn answer(self, answer: Answer) {
        // The asker may have stopped waiting.
        let _ = self.reply.send(answer);
    }
}

/// The answerer's end. Its place is free again when it is dropped.
#[derive(Debug)]
pub struct Questions {
    asked: mpsc::Receiver<Asked>,
}

impl Questions {
    /// The next question; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Asked> {
        self.asked.recv().await
    }

    /// [`Questions::next`] for threads outside an async runtime.
    pub fn next_blocking(&mut self) -> Option<Asked> {
        self.asked.blocking_recv()
    }
}

/// Where questions go.
#[derive(Debug, Default)]
pub(crate) struct Desk {
    answerer: Mutex<Option<mpsc::Sender<Asked>>>,
}

impl Desk {
    fn lock(&self) -> MutexGuard<'_, Option<mpsc::Sender<Asked>>> {
        self.answerer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bus {
    /// Becomes the one that answers.
    pub fn answer_questions(&self) -> Result<Questions, SomebodyAnswers> {
        let mut answerer = self.questions.lock();
        if answerer.as_ref().is_some_and(|sender| !sender.is_closed()) {
            return Err(SomebodyAnswers);
        }
        let (sender, asked) = mpsc::channel(MAX_QUESTIONS_QUEUED);
        *answerer = Some(sender);
        Ok(Questions { asked })
    }

    /// Asks, and waits at most [`ANSWER_TIMEOUT`].
    pub async fn ask(&self, question: Question) -> Result<Answer, AskError> {
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        let answerer = self.questions.lock().clone().ok_or(AskError::Nobody)?;
        let (reply, answer) = oneshot::channel();
        answerer
            .try_send(Asked { question, reply })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => AskError::Busy,
                mpsc::error::TrySendError::Closed(_) => AskError::Nobody,
            })?;
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_fallen)) => Err(AskError::NotAnswered),
            Err(_elapsed) => Err(AskError::TooLate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_question_is_answered() {
        let bus = Bus::local();
        let mut questions = bus.answer_questions().unwrap();
        let answerer = async {
            let asked = questions.next().await.unwrap();
            assert_eq!(asked.question, Question::Health);
            asked.answer(Answer::Health(Health {
                active_calls: 3,
                ..Health::default()
            }));
        };
        let (answer, ()) = tokio::join!(bus.ask(Question::Health), answerer);
        let Ok(Answer::Health(health)) = answer else {
            panic!("{answer:?}")
        };
        assert_eq!(health.active_calls, 3);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_answer_the_asker_learns_why() {
        let bus = Bus::local();
        assert_eq!(bus.ask(Question::Health).await, Err(AskError::Nobody));

        let mut questions = bus.answer_questions().unwrap();
        assert_eq!(bus.answer_questions().unwrap_err(), SomebodyAnswers);
        assert_eq!(bus.ask(Question::Health).await, Err(AskError::TooLate));
        drop(questions.next().await);
        let fall = async { drop(questions.next().await) };
        let (answer, ()) = tokio::join!(bus.ask(Question::Health), fall);
        assert_eq!(answer, Err(AskError::NotAnswered));

        drop(questions);
        assert_eq!(bus.ask(Question::Health).await, Err(AskError::Nobody));
        assert!(bus.answer_questions().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn the_queue_is_bounded() {
        let bus = Bus::local();
        let _questions = bus.answer_questions().unwrap();
        let mut asking = Vec::new();
        for _ in 0..MAX_QUESTIONS_QUEUED + 1 {
            let bus = bus.clone();
            asking.push(tokio::spawn(async move { bus.ask(Question::Health).await }));
        }
        let mut busy = 0;
        for asked in asking {
            match asked.await.unwrap() {
                Err(AskError::Busy) => busy += 1,
                other => assert_eq!(other, Err(AskError::TooLate)),
            }
        }
        assert_eq!(busy, 1);
    }
}
