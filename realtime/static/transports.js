// Three ways to the same frames: the gateway's websocket, server-sent events, and asking again and again. All of them
// hand frames to the same keeper (live.js), so the newest (epoch, version) wins whichever way it came. "auto" begins
// with the websocket and goes on to the next way when one brings nothing, because some networks let no socket through;
// from a lesser way it climbs up again (climbing.js).

import { Refusal, Unknown, call } from "./api.js";
import { Climber, rest } from "./climbing.js";
import { Live } from "./live.js";

// Less than the silence after which a picture counts as old.
const WAIT_S = 5;
const FRUITLESS_MAX = 3;
const HASTY_MAX = 1;
const EVENTS_TYPE = "text/event-stream";

// Read server-sent events off a response, one "data:" block after the other.
async function readEvents(body, take) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return;
    const blocks = (rest + value).replace(/\r\n?/g, "\n").split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const lines = block.split("\n").filter((line) => line.startsWith("data:"));
      take(lines.map((line) => line.slice(5).trimStart()).join("\n"));
    }
  }
}

// A sign of life that is no frame.
function alive(live) {
  live.heardAt = performance.now();
  live.failures = 0;
  live.setLink("live");
}

class Events extends Live {
  async connect() {
    clearTimeout(this.timer);
    this.timer = null;
    const stop = new AbortController();
    this.socket = { close: () => stop.abort() };
    this.openedAt = performance.now();
    const mine = this.socket;
    try {
      const headers = { accept: EVENTS_TYPE };
      if (this.token()) headers.authorization = `Bearer ${this.token()}`;
      const url = `/v1/feed/events?topics=${this.topics.join(",")}`;
      const answer = await fetch(url, { headers, signal: stop.signal, cache: "no-store", credentials: "omit" });
      if ([401, 403, 404].includes(answer.status)) this.refuse();
      // A comment line is a sign of life as well; an event without data is none of ours.
      else if (answer.ok) await readEvents(answer.body, (data) => (data ? this.take(JSON.parse(data)) : alive(this)));
    } catch {
      // The connection ended, which is what happens to connections; the watchdog and the retry see to it.
    }
    if (this.socket !== mine) return;
    this.socket = null;
    this.retry();
  }
}

class Poll extends Live {
  async connect() {
    clearTimeout(this.timer);
    this.timer = null;
    const stop = new AbortController();
    const mine = (this.socket = { close: () => stop.abort() });
    for (let etag = null; this.socket === mine && !this.stopped; ) {
      this.openedAt = performance.now() + WAIT_S * 1000;
      try {
        etag = await this.ask(etag, stop.signal);
      } catch (error) {
        if (error instanceof Refusal) this.refuse();
        break;
      }
    }
    if (this.socket !== mine) return;
    this.socket = null;
    this.retry();
  }

  async ask(etag, signal) {
    const headers = { accept: "application/json" };
    if (this.token()) headers.authorization = `Bearer ${this.token()}`;
    if (etag) headers["if-none-match"] = etag;
    const url = `/v1/feed?topics=${this.topics.join(",")}&wait=${etag ? WAIT_S : 0}`;
    const answer = await fetch(url, { headers, signal, cache: "no-store", credentials: "omit" });
    if ([401, 403, 404].includes(answer.status)) throw new Refusal(answer.status, {});
    if (!answer.ok && answer.status !== 304) throw new Unknown(`HTTP ${answer.status}`);
    alive(this);
    if (answer.status === 200) for (const frame of (await answer.json()).frames) this.take(frame);
    return answer.headers.get("etag");
  }
}

const WAYS = { ws: Live, sse: Events, poll: Poll };

// The same as a Live, whichever way it goes at present. Each way is made once and rests while another one goes.
class Follower {
  constructor(ways, options) {
    Object.assign(this, { ways, options, topics: options.topics, lives: new Map(), known: new Map() });
    Object.assign(this, { live: null, transport: null, fruitless: 0, reconnects: 0, heardAt: null });
    // hasty: whoever has heard nothing yet tries each way once before it tries any of them again.
    this.hasty = Boolean(options.hasty);
    this.climber = new Climber(this);
  }

  start() {
    this.go(this.ways[0]);
    return this;
  }

  go(way) {
    const before = this.live;
    this.climber.stop();
    if (before) rest(before);
    this.transport = way;
    this.live = this.lives.get(way) ?? this.make(way);
    Object.assign(this.live, { stopped: false, heardAt: before?.heardAt ?? null, link: before?.link ?? "connecting" });
    if (this.lives.has(way)) this.live.connect();
    else this.live.start();
    this.lives.set(way, this.live);
    this.climber.plan();
  }

  // Another way goes already and has given what it has: only now the one before it ends.
  change(way, live) {
    const before = this.live;
    Object.assign(this, { transport: way, live, fruitless: 0 });
    rest(before);
    if (live.link !== before.link) this.options.onLink?.(live.link);
  }

  make(way) {
    const live = new WAYS[way]({ ...this.options, onLink: (link) => this.live === live && this.options.onLink?.(link) });
    live.known = this.known;
    const retry = live.retry.bind(live);
    live.retry = () => this.onRetry(live, retry);
    return live;
  }

  onRetry(live, retry) {
    if (live !== this.live) return this.climber.lose(live);
    const { heardAt, link, stopped } = this.live;
    if (stopped) return null;
    this.reconnects += 1;
    const heard = heardAt !== this.heardAt;
    this.heardAt = heardAt;
    this.fruitless = heard ? 0 : this.fruitless + 1;
    const at = this.ways.indexOf(this.transport);
    if (heard) this.hasty = Boolean(this.options.hasty);
    const most = this.hasty ? HASTY_MAX : FRUITLESS_MAX;
    // A refusal is an answer on any of them.
    if (this.fruitless >= most && this.ways.length > 1 && link !== "refused") {
      this.fruitless = 0;
      if (at === this.ways.length - 1) this.hasty = false;
      this.go(this.ways[(at + 1) % this.ways.length]);
    } else retry();
    return null;
  }

  stop() {
    this.climber.stop();
    for (const live of this.lives.values()) live.stop();
  }

  get link() {
    return this.live?.link ?? "connecting";
  }

  silenceMs() {
    return this.live?.silenceMs() ?? null;
  }
}

export function follow(transport, options) {
  return new Follower(transport === "auto" ? ["ws", "sse", "poll"] : [transport], options);
}
