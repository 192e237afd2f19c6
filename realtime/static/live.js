// Watch topics over the gateway's websocket. Frames are absolute: the newest (epoch, version) of a topic is shown
// and everything else is dropped, so frames may come late, twice or after a reconnect and no number can be wrong
// twice. Nothing is ever added up here. Whoever comes back says what it has, and is sent only what is newer.

import { Refusal, call } from "./api.js";

const STALE_MS = 10_000;
const DEAD_MS = 15_000;
const RETRY_MS_MIN = 500;
const RETRY_MS_MAX = 20_000;
const DAY_MS = 86_400_000;
const UNAUTHORIZED = 4401;
// So many failures make the longest pauses: for what only a person can mend.
const RARELY = 8;

export function newer(frame, known) {
  if (!known) return true;
  return frame.epoch > known.epoch || (frame.epoch === known.epoch && frame.version > known.version);
}

// link: "connecting" | "live" | "stale" | "refused"
export class Live {
  constructor({ topics, token = () => null, onFrame, onLink = () => {}, onBuild = () => {} }) {
    Object.assign(this, { topics, token, onFrame, onLink, onBuild });
    this.known = new Map();
    this.link = "connecting";
    this.heardAt = null;
    this.failures = 0;
    this.build = null;
    this.socket = null;
    this.stopped = false;
  }

  start() {
    this.connect();
    this.watchdog = setInterval(() => this.look(), 1000);
    addEventListener("online", () => this.retrySoon());
    return this;
  }

  stop() {
    this.stopped = true;
    clearInterval(this.watchdog);
    clearTimeout(this.timer);
    this.socket?.close();
  }

  // Milliseconds since the gateway last said anything, or null before it ever did.
  silenceMs() {
    return this.heardAt === null ? null : performance.now() - this.heardAt;
  }

  setLink(link) {
    if (this.link === link) return;
    this.link = link;
    this.onLink(link);
  }

  async connect() {
    clearTimeout(this.timer);
    this.timer = null;
    const asked = (this.asked = {});
    try {
      const answer = await call("POST", "/socket-tickets", {
        token: this.token(),
        body: { topics: this.topics },
      });
      if (!this.stopped && this.asked === asked) this.open(answer);
    } catch (error) {
      // Begun anew meanwhile: what became of that is told by the newer one.
      if (this.asked !== asked) return;
      if (error instanceof Refusal && [401, 403, 404].includes(error.status)) {
        // The key was taken back, or the thing is gone. Somebody may give it back: look again, rarely.
        this.refuse();
      }
      this.retry();
    }
  }

  open({ ticket, gateway_url: url }) {
    const socket = new WebSocket(url, "stream-events.v1");
    this.socket = socket;
    this.openedAt = performance.now();
    socket.onopen = () => socket.send(JSON.stringify({ ticket, have: this.have() }));
    socket.onmessage = (message) => this.take(JSON.parse(message.data));
    socket.onclose = ({ code, reason }) => {
      if (this.socket === socket) {
        this.socket = null;
        if (code === UNAUTHORIZED && reason === "revoked") this.refuse();
        this.retry();
      }
    };
  }

  refuse() {
    this.setLink("refused");
    this.failures = RARELY;
  }

  // The newest of each topic that is on screen, as the gateway wants to hear it.
  have() {
    return Object.fromEntries(
      [...this.known].map(([topic, { epoch, version }]) => [topic, [epoch, version]]),
    );
  }

  take(frame) {
    this.heardAt = performance.now();
    this.failures = 0;
    if (frame.t === "hello") {
      if (this.build && frame.build !== this.build) this.onBuild(frame.build);
      this.build = frame.build;
    }
    if (frame.t === "state") {
      const known = this.known.get(frame.topic);
      if (newer(frame, known)) {
        this.known.set(frame.topic, { epoch: frame.epoch, version: frame.version });
        this.onFrame(frame);
      }
    }
    this.setLink("live");
  }

  look() {
    const silence = this.silenceMs();
    if (this.link === "live" && silence > STALE_MS) this.setLink("stale");
    if (!this.socket) return;
    if (performance.now() - Math.max(this.openedAt, this.heardAt ?? -DAY_MS) > DEAD_MS) {
      // The browser has not noticed that the other side is gone.
      const dead = this.socket;
      this.socket = null;
      dead.close();
      this.retry();
    }
  }

  // Full jitter: after a cut the whole audience comes back spread out, not in waves.
  retry() {
    if (this.stopped || this.timer) return;
    this.failures += 1;
    const most = Math.min(RETRY_MS_MAX, 1000 * 2 ** Math.min(this.failures, 6));
    this.timer = setTimeout(() => this.connect(), RETRY_MS_MIN + Math.random() * (most - RETRY_MS_MIN));
  }

  retrySoon() {
    if (this.socket || this.stopped) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.connect(), RETRY_MS_MIN + Math.random() * 1500);
  }
}
