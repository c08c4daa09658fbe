//! G21: turns of users whose token is cached, while the token endpoint is dead.

use std::{
    net::SocketAddr,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use entra_auth::{Audience, Body, HttpTransport, ManualClock, ReqwestTransport, TokenCredential, TokenRequest};
use http::Request;
use time::OffsetDateTime;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::Builder,
    time::timeout,
};

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, EPOCH, Issuer, Judge, MakeUserSource, Sts, TENANT, median, millis, p99, user_claims},
};

/// How many turns a round and side.
pub const TURNS: Setting = Setting::new("turns", "10000", "100");

const LIMIT: f64 = 1.25;
/// How the endpoint is dead, a round each.
const DEATHS: [Behaviour; 5] =
    [Behaviour::Hangs, Behaviour::Refuses, Behaviour::Status(503), Behaviour::Hangs, Behaviour::Refuses];
const USERS: usize = 100;
/// A turn that takes so long waits for the dead endpoint.
const LATE: Duration = Duration::from_secs(2);

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::user_client)
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeUserSource) -> Result<Outcome, Fault> {
    let turns = options.number(&TURNS)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let resource = resource()?;
    runtime.block_on(async {
        let issuer = Issuer::new()?;
        let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(EPOCH)?);
        let judge = world::judge(issuer.publisher.clone(), Arc::new(clock))?;
        let bearers: Result<Vec<String>, Fault> =
            (0..USERS as u64).map(|number| issuer.signer.sign(&user_claims(EPOCH, 80_000, number))).collect();
        let host = Host { judge, bearers: bearers?, transport: Arc::new(ReqwestTransport::new()?), resource };
        let (mut ratios, mut alive, mut dead) = (Vec::new(), Vec::new(), Vec::new());
        let (mut failed, mut late, mut refreshes) = (0, 0, 0);
        for (round, death) in DEATHS.into_iter().enumerate() {
            let seed = Random::new(options.seed).fork(round as u64);
            let mut sides = [Side::new(Behaviour::AT_ONCE, &seed, make).await?, Side::new(death, &seed, make).await?];
            let mut times = [Vec::new(), Vec::new()];
            for turn in 0..turns {
                // A turn of one side, then one of the other.
                for which in [turn % 2, 1 - turn % 2] {
                    let (Some(side), Some(times)) = (sides.get_mut(which), times.get_mut(which)) else { continue };
                    let start = Instant::now();
                    match timeout(LATE, host.turn(side)).await {
                        Ok(Ok(())) => times.push(start.elapsed()),
                        Ok(Err(_)) => failed += 1,
                        Err(_) => late += 1,
                    }
                }
                // After a few bad turns there is nothing left to learn.
                if late > 3 || failed > 3 {
                    break;
                }
            }
            let [well, ill] = &mut times;
            ratios.push(p99(ill).as_secs_f64() / p99(well).as_secs_f64().max(1e-9));
            alive.append(well);
            dead.append(ill);
            let [_, side] = &sides;
            refreshes += side.sts.requests().saturating_sub(USERS as u64);
        }
        let each: Vec<f64> = ratios.iter().map(|ratio| (ratio * 100.0).round() / 100.0).collect();
        let ratio = (median(&mut ratios) * 100.0).round() / 100.0;
        // A short run has too few turns for a p99 that means something.
        let gated = !options.short;
        Ok(Outcome::new(ratio, LIMIT)
            .require("p99 of turns is at most 1.25 times what it is with a live endpoint", !gated || ratio <= LIMIT)
            .require("no turn fails", failed == 0)
            .require("no turn waits for the dead endpoint", late == 0)
            .require("refreshes were tried", refreshes > 0)
            .note("ratio_gated", gated)
            .note("ratios", each)
            .note("turns", alive.len() + dead.len())
            .note("failed", failed)
            .note("late", late)
            .note("refreshes_tried", refreshes)
            .note("p99_alive_ms", millis(p99(&mut alive)))
            .note("p99_dead_ms", millis(p99(&mut dead))))
    })
}

/// A token endpoint and the users whose tokens come from it.
struct Side {
    sts: Arc<Sts>,
    credentials: Vec<Arc<dyn TokenCredential>>,
    request: TokenRequest,
    next: usize,
}

impl Side {
    /// Users with tokens that are in their refresh window, at an endpoint that behaves like this from now on.
    async fn new(then: Behaviour, random: &Random, make: MakeUserSource) -> Result<Self, Fault> {
        let sts = Arc::new(Sts::new(Behaviour::AT_ONCE, 1500, random.clone()));
        let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(EPOCH)?);
        let source = make(sts.clone(), Arc::new(clock.clone()), 64 << 20)?;
        let request = world::request("https://graph.microsoft.com/User.Read")?;
        let mut credentials = Vec::new();
        for user in 0..USERS {
            let user = format!("dddddddd-0000-0000-0000-{user:012}");
            let raw = format!("a:{user}");
            let credential = source.on_behalf_of(world::user_token(TENANT, &user, EPOCH + 86_400, raw)?);
            credential.get_token(&request).await?;
            credentials.push(credential);
        }
        clock.step(time::Duration::seconds(3400));
        sts.set(then);
        Ok(Self { sts, credentials, request, next: 0 })
    }
}

/// What a turn needs: who is there, their token for the resource, an answer from the resource.
struct Host {
    judge: Arc<dyn Judge>,
    bearers: Vec<String>,
    transport: Arc<ReqwestTransport>,
    resource: SocketAddr,
}

impl Host {
    async fn turn(&self, side: &mut Side) -> Result<(), Fault> {
        let user = side.next % USERS;
        side.next += 1;
        let (Some(bearer), Some(credential)) = (self.bearers.get(user), side.credentials.get(user)) else {
            return Err("no such user".into());
        };
        self.judge.judge(bearer).await?;
        let token = credential.get_token(&side.request).await?;
        let address: url::Url = format!("http://{}/me", self.resource).parse()?;
        let audience = Audience::new(side.request.scopes.clone(), [&address])?;
        let mut request = Request::get(address.as_str()).body(Body::empty())?;
        token.authorize(&mut request, &audience)?;
        let answer = self.transport.send(request).await?;
        if answer.status() != 200 {
            return Err("the resource refuses".into());
        }
        answer.into_body().collect(1 << 20).await?;
        Ok(())
    }
}

/// A resource on loopback that answers whoever has a bearer token. It ends with the process.
fn resource() -> Result<SocketAddr, Fault> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    thread::spawn(move || {
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else { return };
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(async { drop(serve(socket).await) });
            }
        });
    });
    Ok(address)
}

async fn serve(mut socket: TcpStream) -> std::io::Result<()> {
    socket.set_nodelay(true)?;
    let mut head = Vec::new();
    loop {
        let mut buffer = [0; 8192];
        let read = socket.read(&mut buffer).await?;
        if read == 0 || head.len() > 64 << 10 {
            return Ok(());
        }
        head.extend_from_slice(buffer.get(..read).unwrap_or_default());
        if head.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
            let status = if text.contains("\r\nauthorization: bearer ") { "200 OK" } else { "401 Unauthorized" };
            socket.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok").as_bytes()).await?;
            head.clear();
        }
    }
}
