// How an overlay that nobody looks after stays alive for a night: it loads itself anew when it hears nothing although
// the server answers, and when a new build is out. Never in a circle: each reload in a row waits twice as long as the
// one before, and none happens unless the server proved that there would be something to show afterwards.

const SILENT_MS = 30_000;
const SILENT_MS_MAX = 1_800_000;
const LOOK_MS = 5_000;
const SPREAD_MS = 20_000;
const OWN_BUILD = import.meta.url.match(/\/static\/([^/]+)\//)?.[1] ?? null;

export const build = OWN_BUILD;

// How often in a row this page loaded itself because of silence; kept with the history entry, which a reload keeps.
function reloads() {
  const said = history.state?.reloads;
  return Number.isInteger(said) && said > 0 ? said : 0;
}

export class Upkeep {
  // silenceMs(): since when nothing was heard; proof(): does the server answer with something to show; idle(): may
  // the picture blink now; reload(): seen by tests.
  constructor({ silenceMs, proof, idle, reload = () => location.reload() }) {
    Object.assign(this, { silenceMs, proof, idle, reload, startedAt: performance.now(), newBuild: false, busy: false });
    setInterval(() => this.look(), LOOK_MS);
  }

  heard() {
    if (reloads()) history.replaceState({}, "");
  }

  // A build other than the one this page came from: during a rolling update it may be the older one, so ask first.
  onBuild(name) {
    if (name === OWN_BUILD || this.newBuild) return;
    this.newBuild = true;
    setTimeout(() => this.whenIdle(), Math.random() * SPREAD_MS);
  }

  async whenIdle() {
    if (this.idle() && (await this.pageAnswers())) return this.reload();
    setTimeout(() => this.whenIdle(), LOOK_MS);
  }

  async pageAnswers() {
    try {
      const answer = await fetch(location.pathname, { method: "HEAD", cache: "no-store", credentials: "omit" });
      return answer.ok;
    } catch {
      return false;
    }
  }

  async look() {
    const silent = this.silenceMs() ?? performance.now() - this.startedAt;
    const patience = Math.min(SILENT_MS * 2 ** reloads(), SILENT_MS_MAX);
    if (silent < patience || this.busy) return;
    this.busy = true;
    await new Promise((wake) => setTimeout(wake, Math.random() * LOOK_MS));
    if ((this.silenceMs() ?? Infinity) >= patience && (await this.pageAnswers()) && (await this.proof())) {
      history.replaceState({ reloads: reloads() + 1 }, "");
      this.reload();
    }
    this.busy = false;
  }
}
