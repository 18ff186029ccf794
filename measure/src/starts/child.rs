//! A process of this program that decodes for this one.

use crate::error::{Error, Result};
use crate::pass_watch::Generated;
use crate::starts::wire::{Answer, Order, next_line, read, write};
use s3d_data::{Seconds, shown};
use std::ffi::OsString;
use std::io::{BufReader, Read, Write};
use std::process::{self, ChildStdin, ChildStdout, Command, Stdio};

/// Bytes of a child's last words that are read.
const LAST_WORDS: u64 = 2000;

/// The running child. It ends with this value.
pub(crate) struct Child {
    process: process::Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
    /// CPU time that it said it has used.
    pub cpu: Seconds,
}

impl Child {
    /// Starts `command`; its model is loaded when it answers for the first time.
    pub(crate) fn start(command: &[OsString]) -> Result<Self> {
        let [program, arguments @ ..] = command else {
            return Err(Error::invalid("expected a program to start, found nothing"));
        };
        let mut child = Command::new(program);
        child.args(arguments);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = child.spawn().map_err(|e| Error::invalid(format!("{e}")))?;
        let (orders, answers) = (process.stdin.take(), process.stdout.take());
        let (Some(orders), Some(answers)) = (orders, answers) else {
            return Err(Error::invalid("a child without standard input and output"));
        };
        Ok(Self { process, orders, answers: BufReader::new(answers), cpu: Seconds::ZERO })
    }

    /// Has it decode, with the model that has this content hash.
    pub(crate) fn decode(&mut self, order: &Order, model: &str) -> Result<Generated> {
        let line = write(order)? + "\n";
        let told = self.orders.write_all(line.as_bytes()).and_then(|()| self.orders.flush());
        if told.is_err() {
            return Err(self.ended());
        }
        let Some(line) = next_line(&mut self.answers)? else { return Err(self.ended()) };
        let answer: Answer = read(&line)?;
        if answer.model != model {
            return Err(Error::invalid("it loaded another model: the files have changed"));
        }
        self.cpu = answer.process_cpu_seconds;
        Ok(answer.generated)
    }

    /// Why it ended, in its own words.
    fn ended(&mut self) -> Error {
        let mut words = String::new();
        let errors = self.process.stderr.take();
        let _ = errors.map(|errors| errors.take(LAST_WORDS).read_to_string(&mut words));
        let status = self.process.wait().map(|status| status.to_string()).unwrap_or_default();
        Error::invalid(format!("{status}: {}", shown(words.trim())))
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(words: &[&str]) -> String {
        let command: Vec<OsString> = words.iter().map(OsString::from).collect();
        let plan = "plain".parse().unwrap();
        let (prompt, reference) = (vec![1], vec![]);
        let order = Order { plan, id: "a".into(), prompt, tokens: 2, reference, sampling: None };
        let answer = Child::start(&command).and_then(|mut child| child.decode(&order, "hash"));
        answer.map_or_else(|error| error.to_string(), |generated| format!("{generated:?}"))
    }

    #[test]
    fn a_child_that_fails_babbles_or_holds_another_model_is_reported() {
        let answer = r#"{"model":"MODEL","process_cpu_seconds":0.5,"generated":{"tokens":[7,8],
            "iterations":1,"prompt_seconds":0.1,"draft_seconds":0,"verify_seconds":0.2,
            "seconds":0.3,"cpu_seconds":0.4}}"#;
        let says = |model: &str| {
            let line = answer.replace('\n', "").replace("MODEL", model);
            ask(&["sh", "-c", &format!("read order; echo '{line}'; cat >/dev/null")])
        };
        assert!(says("hash").contains("tokens: [7, 8]"), "{}", says("hash"));
        assert!(says("other").contains("another model"));
        assert!(ask(&["sh", "-c", "read order; echo hello"]).contains("found 'hello'"));
        let failed = ask(&["sh", "-c", "read order; echo no memory >&2; exit 3"]);
        assert!(failed.contains('3') && failed.contains("no memory"), "{failed}");
        assert!(
            ask(&["/no/such/program"]).contains("No such file"),
            "{}",
            ask(&["/no/such/program"])
        );
        assert!(ask(&[]).contains("found nothing"));
    }
}
