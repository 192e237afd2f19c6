// A sale's live figures in your own page, overlay or NodeCG bundle: one module, nothing else to load.
//
//   import { connect } from "https://<host>/client/stream-events.js";
//   const feed = connect({ topics: ["stream/<id>/tally"] });
//   feed.onSnapshot((frames) => …);  // { topic: frame }, all that is known, after each (re)connection
//   feed.onFrame((frame) => …);      // each newer frame; frame.state is the topic's whole state
//   feed.onLink((link) => …);        // "connecting" | "live" | "stale" | "refused" | "closed"
//   feed.close();
//
// A frame carries the whole state of its topic: show the newest and never add up. Old and repeated frames are dropped
// here. Three ways lead to the same frames, a websocket, server-sent events and long-polling; "auto" goes on to the next
// where a network lets one not through, and later tries the better ones again. On a stale link show that the figures are old.

const STALE_MS = 10_000;
const DEAD_MS = 15_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 20_000;
const SETTLE_MS = 250;
const POLL_WAIT_S = 5; // As often as a beat comes, so that a poll too can tell when figures grow old.
const FRUITLESS_MAX = 2;
// On a lesser way a better one is tried again: first within a minute, then ever more rarely.
const CLIMB_MS_MIN = 60_000;
const CLIMB_MS_MAX = 900_000;
const TRIAL_MS = 10_000;
const REFUSALS = [401, 403, 404, 422];
const WAYS = ["ws", "sse", "poll"];

const HOME = new URL(import.meta.url).origin;

export function newer(frame, known) {
  return !known || frame.epoch > known.epoch || (frame.epoch === known.epoch && frame.version > known.version);
}

class Refused extends Error {}

class Feed {
  constructor({ origin = HOME, topics, key = null, transport = "auto" }) {
    if (!Array.isArray(topics) || topics.length === 0) throw new TypeError("topics: name at least one");
    this.ways = transport === "auto" ? WAYS : [transport];
    if (!this.ways.every((way) => WAYS.includes(way))) throw new TypeError(`transport: ${transport}`);
    this.origin = origin.replace(/\/$/, "");
    this.topics = [...new Set(topics)].sort();
    this.key = key;
    this.frames = {};
    this.link = "connecting";
    this.listeners = { snapshot: new Set(), frame: new Set(), link: new Set() };
    this.heardAt = null;
    this.failures = 0;
    this.way = 0;
    this.fruitless = 0;
    this.lastId = "";
    this.snapshotDue = true;
    this.attempt = null;
    // The better way that is tried while the attempt of now goes on.
    this.trial = null;
    this.climbMs = CLIMB_MS_MIN;
    this.watchdog = setInterval(() => this.look(), 1000);
    // Not at once: whoever called connect() first says what it listens to.
    this.timer = setTimeout(() => this.begin());
  }

  // Call fn after each connection with everything that is known; at once if there is something already.
  onSnapshot(fn) {
    if (!this.snapshotDue) fn({ ...this.frames });
    return this.listen("snapshot", fn);
  }

  onFrame(fn) {
    return this.listen("frame", fn);
  }

  onLink(fn) {
    fn(this.link);
    return this.listen("link", fn);
  }

  get transport() {
    return this.ways[this.way];
  }

  close() {
    clearInterval(this.watchdog);
    clearTimeout(this.timer);
    clearTimeout(this.settling);
    this.attempt?.end();
    this.attempt = null;
    this.stopClimbing();
    this.setLink("closed");
  }

  listen(what, fn) {
    this.listeners[what].add(fn);
    return () => this.listeners[what].delete(fn);
  }

  tell(what, value) {
    for (const fn of this.listeners[what]) fn(value);
  }

  setLink(link) {
    if (this.link === link || this.link === "closed") return;
    this.link = link;
    this.tell("link", link);
  }

  // Each attempt knows whether it is still the one that counts, so that what comes late from an old one is dropped.
  begin() {
    const attempt = (this.attempt = this.newAttempt(this.way));
    this.run(attempt);
  }

  newAttempt(way) {
    const stop = new AbortController();
    const attempt = { way, stop, startedAt: performance.now(), heard: false };
    attempt.over = () => this.attempt !== attempt && this.trial !== attempt;
    attempt.end = () => {
      stop.abort();
      attempt.socket?.close();
      attempt.source?.close();
    };
    return attempt;
  }

  run(attempt) {
    const run = { ws: overSocket, sse: overEvents, poll: overPolls }[this.ways[attempt.way]];
    run(this, attempt).catch((error) => this.lose(attempt, error));
  }

  planClimb() {
    this.stopClimbing();
    if (this.way > 0) this.climbing = setTimeout(() => this.climb(0), this.climbMs * (0.5 + Math.random() / 2));
  }

  stopClimbing() {
    clearTimeout(this.climbing);
    const { trial } = this;
    this.trial = null;
    trial?.end();
  }

  // Try a better way beside the one that goes, which stays until the new one has given its snapshot.
  climb(way) {
    this.stopClimbing();
    if (way >= this.way) {
      this.climbMs = Math.min(CLIMB_MS_MAX, this.climbMs * 2);
      return this.planClimb();
    }
    if (globalThis.document?.hidden || this.link !== "live") return this.planClimb();
    const trial = (this.trial = this.newAttempt(way));
    this.climbing = setTimeout(() => this.climb(way + 1), TRIAL_MS);
    return this.run(trial);
  }

  // The trial has given its snapshot: now it is the attempt that counts.
  arrive(trial) {
    if (this.trial !== trial) return;
    const before = this.attempt;
    this.trial = null;
    clearTimeout(this.climbing);
    Object.assign(this, { attempt: trial, way: trial.way, climbMs: CLIMB_MS_MIN });
    before?.end();
    // Nothing of an attempt that was being begun anew meanwhile may come after it.
    clearTimeout(this.timer);
    this.planClimb();
    this.snapshotDue = true;
    this.settled();
  }

  lose(attempt, error) {
    if (attempt.over()) return;
    if (attempt === this.trial) return this.climb(attempt.way + 1);
    this.attempt = null;
    attempt.end();
    clearTimeout(this.settling);
    this.snapshotDue = true;
    this.failures += 1;
    if (error instanceof Refused) {
      // The key was taken back, or the thing is gone. Somebody may give it back: look again, rarely.
      this.failures = 8;
      this.setLink("refused");
    } else if (!attempt.heard && ++this.fruitless >= FRUITLESS_MAX) {
      this.fruitless = 0;
      this.way = (this.way + 1) % this.ways.length;
      this.planClimb();
    }
    // Full jitter: after a cut the whole audience comes back spread out, not in waves.
    const most = Math.min(RETRY_MS_MAX, 1000 * 2 ** Math.min(this.failures, 6));
    const wait = RETRY_MS_MIN + Math.random() * (most - RETRY_MS_MIN);
    this.timer = setTimeout(() => this.begin(), Math.max(wait, error?.retryAfterMs ?? 0));
    return null;
  }

  hear(attempt) {
    this.heardAt = performance.now();
    attempt.heard = true;
    this.failures = this.fruitless = 0;
    this.setLink("live");
  }

  take(attempt, message) {
    if (attempt.over()) return;
    this.hear(attempt);
    if (message.t === "hello") this.settle(attempt);
    if (message.t !== "state" || !newer(message, this.frames[message.topic])) return;
    this.frames[message.topic] = message;
    this.tell("frame", message);
    if (this.snapshotDue && this.topics.every((topic) => topic in this.frames)) this.settled();
  }

  // A topic without a state sends nothing, so a snapshot is over when nothing more came for a moment.
  settle(attempt) {
    if (attempt === this.trial) {
      setTimeout(() => this.arrive(attempt), SETTLE_MS);
      return;
    }
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.settled(), SETTLE_MS);
  }

  settled() {
    clearTimeout(this.settling);
    if (!this.snapshotDue) return;
    this.snapshotDue = false;
    this.tell("snapshot", { ...this.frames });
  }

  look() {
    const now = performance.now();
    if (this.link === "live" && now - this.heardAt > STALE_MS) this.setLink("stale");
    const attempt = this.attempt;
    if (attempt && now - Math.max(attempt.startedAt, this.heardAt ?? 0) > DEAD_MS) {
      this.lose(attempt, new Error("silence"));
    }
  }

  headers(more = {}) {
    return this.key ? { ...more, authorization: `Bearer ${this.key}` } : more;
  }

  async ask(attempt, path, options = {}) {
    const answer = await fetch(`${this.origin}/v1${path}`, {
      ...options,
      cache: "no-store",
      credentials: "omit",
      signal: attempt.stop.signal,
    });
    if (REFUSALS.includes(answer.status)) throw new Refused(`HTTP ${answer.status}`);
    if (answer.ok || answer.status === 304) return answer;
    const error = new Error(`HTTP ${answer.status}`);
    error.retryAfterMs = 1000 * (Number(answer.headers.get("retry-after")) || 0);
    throw error;
  }

  async ticket(attempt) {
    const answer = await this.ask(attempt, "/socket-tickets", {
      method: "POST",
      headers: this.headers({ "content-type": "application/json" }),
      body: JSON.stringify({ topics: this.topics }),
    });
    return answer.json();
  }

  have() {
    return Object.fromEntries(
      Object.values(this.frames).map(({ topic, epoch, version }) => [topic, [epoch, version]]),
    );
  }
}

async function overSocket(feed, attempt) {
  const { ticket, gateway_url: url } = await feed.ticket(attempt);
  if (attempt.over()) return;
  const socket = new WebSocket(url, "stream-events.v1");
  attempt.socket = socket;
  socket.onopen = () => socket.send(JSON.stringify({ ticket, have: feed.have() }));
  socket.onmessage = ({ data }) => feed.take(attempt, JSON.parse(data));
  socket.onclose = ({ code, reason }) => feed.lose(attempt, new Error(`${code} ${reason}`));
}

// An EventSource can send no header, so it shows a ticket; and it cannot renew that, so every new start is ours.
async function overEvents(feed, attempt) {
  if (typeof EventSource === "undefined") throw new Error("no EventSource here");
  const { ticket } = await feed.ticket(attempt);
  if (attempt.over()) return;
  const asked = new URLSearchParams({ ticket, have: feed.lastId });
  const source = new EventSource(`${feed.origin}/v1/feed/events?${asked}`);
  attempt.source = source;
  source.onmessage = ({ data, lastEventId }) => {
    feed.take(attempt, JSON.parse(data));
    feed.lastId = lastEventId || feed.lastId;
  };
  source.onerror = () => feed.lose(attempt, new Error("the event stream ended"));
}

async function overPolls(feed, attempt) {
  const path = `/feed?topics=${encodeURIComponent(feed.topics.join(","))}&wait=${POLL_WAIT_S}`;
  for (let etag = null; !attempt.over(); ) {
    const headers = feed.headers(etag ? { "if-none-match": etag } : {});
    const answer = await feed.ask(attempt, path, { headers });
    const { frames } = answer.status === 304 ? { frames: [] } : await answer.json();
    if (attempt.over()) return;
    attempt.startedAt = performance.now();
    etag = answer.headers.get("etag");
    for (const frame of frames) feed.take(attempt, frame);
    if (answer.headers.get("x-feed-live") === "1") feed.hear(attempt);
    feed.settled();
    // Without an ETag to wait on, or while changes come in a rush, a poll must still not become a storm.
    await new Promise((wake) => setTimeout(wake, etag ? 100 : 1000 + Math.random() * 1000));
  }
}

export function connect(options) {
  return new Feed(options);
}
