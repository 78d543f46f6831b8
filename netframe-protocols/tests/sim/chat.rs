//! The chat: what each member hears is what was said in its room, in order and once; what is missing
//! is told. Members speak, roam, leave in every way, read slowly, and are cut off.

use std::time::Duration;

use netframe_core::testing::sim::{self, Conditions, SimNetwork};
use netframe_core::{Io, Limits, Timeout};
use netframe_protocols::chat::{ChatOptions, ChatPolicy, chat};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, ReadHalf, WriteHalf, split};
use tokio::time::{sleep, timeout};

use crate::{LONG, SEEDS, serve};

#[test]
fn members_hear_all_that_is_said_or_how_much_they_missed() {
    sim::seeds(SEEDS, room);
}

const MEMBERS: [&str; 6] = ["m0", "m1", "m2", "m3", "m4", "m5"];

/// How long a member waits for the next line: longer than the room is quiet before it is closed.
const PATIENCE: Duration = Duration::from_secs(2000);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Leaves {
    /// Not before the server stops.
    Never,
    Quits,
    HalfCloses,
    Resets,
    /// To another room, to speak there and stay.
    Roams,
}

/// What a member heard.
#[derive(Default)]
struct Heard {
    /// Lines of the lobby, those of others and what the chat told.
    lines: Vec<String>,
    /// How many it was told that it missed there.
    missed: usize,
    /// It came in.
    entered: bool,
    /// It was told that the server stops, and then EOF came.
    stayed: bool,
}

pub(crate) async fn room(net: SimNetwork) {
    let mut rng = net.rng();
    let is_calm = rng.u8(0..3) == 0;
    let conditions = Conditions::random(&mut rng);
    net.set_conditions(if is_calm { conditions.without_ends() } else { conditions });
    net.set_link("witness", "server", Conditions::default());
    for name in MEMBERS {
        if rng.u8(0..3) == 0 {
            let mut slow = Conditions::rough();
            (slow.bandwidth, slow.capacity) = (Some(rng.u64(300..3000)), 300);
            net.set_link(name, "server", slow);
        }
    }
    let mut limits = Limits::default();
    (limits.high_watermark, limits.low_watermark, limits.hard_cap) = (1024, 256, 8192);
    limits.idle_timeout = Timeout::from_secs(5000);
    let mut options = ChatOptions::default();
    (options.history, options.max_length, options.max_backlog) = (0, 200, 1000);
    let policies = [ChatPolicy::DropOldest, ChatPolicy::DropNewest, ChatPolicy::Disconnect];
    let policy = policies[rng.usize(0..3)];
    options.policy = policy;
    let server = serve(&net, limits, chat(options).unwrap()).await;

    // The accept of the witness is not to fail.
    let witness = loop {
        let stream = net.host("witness").connect("server").await.unwrap();
        let (input, mut output) = split(stream);
        let mut input = BufReader::new(input);
        if output.write_all(b"witness\n").await.is_ok() && next(&mut input).await.is_some() {
            break tokio::spawn(async move {
                let heard = hear(input, false).await;
                drop(output);
                heard
            });
        }
    };
    sleep(Duration::from_secs(1)).await;
    let mut members = Vec::new();
    for name in MEMBERS {
        let ways =
            [Leaves::Never, Leaves::Quits, Leaves::HalfCloses, Leaves::Resets, Leaves::Roams];
        let leaves = if rng.bool() { Leaves::Never } else { ways[rng.usize(0..ways.len())] };
        members.push((name, leaves, tokio::spawn(member(net.host(name), name, leaves))));
    }
    net.trouble("server", &MEMBERS, if is_calm { 0 } else { rng.u32(0..10) }).await;
    // Everybody has spoken then, and who reads has caught up.
    sleep(Duration::from_secs(1000)).await;
    let report = server.shutdown(LONG).await;
    assert!(report.failure.is_none(), "{report}");

    let all = witness.await.unwrap();
    assert!(all.entered && all.stayed && all.missed == 0);
    for (name, leaves, member) in members {
        let heard = member.await.unwrap();
        check(&all.lines, name, leaves, &heard);
        // Unless it was cut off, for being slow or because it did so itself.
        if is_calm && policy != ChatPolicy::Disconnect && leaves != Leaves::Resets {
            let own = format!("{name}: ");
            let said = all.lines.iter().filter(|line| line.starts_with(&own)).count();
            assert_eq!(said, if leaves == Leaves::Roams { LINES / 2 } else { LINES }, "{name}");
            assert_eq!(heard.stayed, matches!(leaves, Leaves::Never | Leaves::Roams), "{name}");
        }
    }
}

const LINES: usize = 20;

/// Compares what a member heard with what the witness did.
fn check(all: &[String], name: &str, leaves: Leaves, heard: &Heard) {
    let own = format!("{name}: ");
    let said = all.iter().filter_map(|line| line.strip_prefix(&own)?.split(' ').next());
    assert!(
        said.map(|number| number.parse::<usize>().unwrap()).is_sorted_by(|a, b| a < b),
        "{name}"
    );
    if !heard.entered {
        return;
    }
    let joined = format!("* {name} joined");
    let came = all.iter().position(|line| *line == joined).expect("all are told who comes");
    let others: Vec<_> = all[came + 1..].iter().filter(|line| !line.starts_with(&own)).collect();
    let mut rest = others.iter();
    for line in &heard.lines {
        assert!(rest.any(|other| *other == line), "{name} heard {line:?} out of order, or twice");
    }
    let missing = others.len() - heard.lines.len();
    if leaves == Leaves::Never && heard.stayed {
        assert_eq!(missing, heard.missed, "{name} is told of all that it missed");
    }
    // Who left heard all until then, unless it was told otherwise or was too slow to be told.
    let is_whole = heard.lines.iter().zip(&others).all(|(one, other)| one == *other);
    assert!(is_whole || heard.missed > 0 || !heard.stayed, "{name} missed some and is not told");
}

/// Comes in, speaks, and leaves; or stays to the end.
async fn member(net: SimNetwork, name: &str, leaves: Leaves) -> Heard {
    let mut rng = net.rng();
    sleep(Duration::from_millis(rng.u64(0..1000))).await;
    let Ok(stream) = net.connect("server").await else { return Heard::default() };
    let (input, mut output) = split(stream);
    let listens = tokio::spawn(hear(BufReader::new(input), rng.u8(0..3) == 0));
    let done = timeout(PATIENCE, speak(&mut output, &mut rng, name, leaves)).await;
    if let Ok(Ok(())) = done
        && leaves == Leaves::Resets
    {
        listens.abort();
        let Ok(heard) = listens.await else { return Heard::default() };
        return heard;
    }
    let heard = listens.await.unwrap();
    drop(output);
    heard
}

async fn speak(
    output: &mut WriteHalf<impl Io>,
    rng: &mut fastrand::Rng,
    name: &str,
    leaves: Leaves,
) -> std::io::Result<()> {
    output.write_all(format!("{name}\n").as_bytes()).await?;
    for number in 0..LINES {
        if number == LINES / 2 && leaves == Leaves::Roams {
            output.write_all(b"/join den\n").await?;
        }
        let text = "x".repeat(rng.usize(0..100));
        output.write_all(format!("{number} {text}\n").as_bytes()).await?;
        sleep(Duration::from_millis(rng.u64(0..200))).await;
    }
    match leaves {
        Leaves::Quits => output.write_all(b"/quit\n").await,
        Leaves::HalfCloses => output.shutdown().await,
        Leaves::Never | Leaves::Resets | Leaves::Roams => Ok(()),
    }
}

/// Listens until the end, or until nothing comes for long.
async fn hear(mut input: BufReader<ReadHalf<impl Io>>, slow: bool) -> Heard {
    let mut heard = Heard::default();
    let mut stops = false;
    let mut in_lobby = true;
    while let Some(line) = next(&mut input).await {
        if line.is_empty() {
            heard.stayed = stops;
            return heard;
        }
        let missed = line.strip_prefix("* you missed ").and_then(|rest| rest.split(' ').next());
        match &*line {
            "* welcome; type a nickname to come in" | "* goodbye" => {}
            "* the server is stopping" => stops = true,
            line if line.starts_with("* you are in lobby") => heard.entered = true,
            line if line.starts_with("* you are in den") => in_lobby = false,
            _ if !in_lobby => {}
            line => match missed {
                Some(missed) => heard.missed += missed.parse::<usize>().unwrap(),
                None => heard.lines.push(line.to_owned()),
            },
        }
        if slow {
            sleep(Duration::from_millis(300)).await;
        }
    }
    heard
}

/// The next line, empty at the end; `None` if there is none.
async fn next(input: &mut BufReader<ReadHalf<impl Io>>) -> Option<String> {
    let mut line = String::new();
    timeout(PATIENCE, input.read_line(&mut line)).await.ok()?.ok()?;
    if !line.is_empty() {
        assert_eq!(line.pop(), Some('\n'), "half a line: {line:?}");
    }
    Some(line)
}
