// Back up to a better way. A page that fell from the websocket in a moment of bad network must not stay on a lesser way
// for the night: after a while it tries the better ones beside the one that goes. That one stays until the new one has
// given its snapshot, so that nobody sees a gap; and where a network lets no better one through, it is tried ever more
// rarely, at a random moment, and never by a page that nobody sees.

const PAUSE_MS_MIN = 60_000;
const PAUSE_MS_MAX = 900_000;
const TRIAL_MS = 10_000;
// A snapshot follows the first word at once; there is no word that ends it.
const SNAPSHOT_MS = 1_000;
const LOOK_MS = 250;

// Let a way go to sleep. It may be woken by connect().
export function rest(live) {
  live.stopped = true;
  clearTimeout(live.timer);
  live.timer = null;
  const { socket } = live;
  live.socket = null;
  socket?.close();
}

export class Climber {
  // feed: the follower, which says which ways there are and which one goes, and takes the one that won.
  constructor(feed) {
    this.feed = feed;
    this.pauseMs = PAUSE_MS_MIN;
    this.trial = null;
  }

  get height() {
    return this.feed.ways.indexOf(this.feed.transport);
  }

  // From now on anew: another way was taken, or a trial is over.
  plan() {
    this.stop();
    if (this.height > 0) this.timer = setTimeout(() => this.begin(), this.pauseMs * (0.5 + Math.random() / 2));
  }

  stop() {
    clearTimeout(this.timer);
    clearInterval(this.looking);
    if (this.trial) rest(this.trial);
    this.trial = null;
  }

  begin() {
    if (document.hidden || this.feed.link !== "live") this.plan();
    else this.tryWay(0);
  }

  tryWay(n) {
    this.stop();
    if (n >= this.height) {
      this.pauseMs = Math.min(PAUSE_MS_MAX, this.pauseMs * 2);
      return this.plan();
    }
    // Whoever fell has been on every way above.
    const live = this.feed.lives.get(this.feed.ways[n]);
    Object.assign(live, { stopped: false, heardAt: null, failures: 0, link: "connecting" });
    this.trial = live;
    this.at = n;
    const begunAt = performance.now();
    let heardAt = null;
    const look = () => {
      const now = performance.now();
      heardAt ??= live.heardAt === null ? null : now;
      if (heardAt !== null && now - heardAt >= SNAPSHOT_MS) this.win(live);
      else if (heardAt === null && now - begunAt > TRIAL_MS) this.tryWay(n + 1);
    };
    this.looking = setInterval(look, LOOK_MS);
    return live.connect();
  }

  // The way that is tried ended before it had won.
  lose(live) {
    if (live === this.trial) this.tryWay(this.at + 1);
  }

  win(live) {
    this.trial = null;
    this.pauseMs = PAUSE_MS_MIN;
    this.feed.change(this.feed.ways[this.at], live);
    this.plan();
  }
}
