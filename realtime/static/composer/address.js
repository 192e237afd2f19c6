// The address for OBS: what was composed, and the overlay's key behind it. The key is made, replaced and shown as in
// the console; it stays in this tab, so that one visit serves for a whole set of widgets.

import { Refusal, Unknown, call } from "../api.js";
import { OverlayKey } from "../overlaykey.js";

const KEPT = "se.overlay.";

export class Address extends OverlayKey {
  constructor(stream, api, act) {
    super(stream, api, act);
    // This is the page that link leads to.
    this.node.querySelector('a[href="/composer"]')?.parentNode.remove();
    this.path = null;
    this.key = null;
    this.recall();
  }

  // A key that was replaced elsewhere would make an address that shows nothing.
  async recall() {
    const kept = sessionStorage.getItem(KEPT + this.stream.id);
    if (!kept) return;
    try {
      const me = await call("GET", "/me", { token: kept });
      if (me.stream_id === this.stream.id && !this.key) this.hold(kept);
    } catch (error) {
      if (error instanceof Refusal) sessionStorage.removeItem(KEPT + this.stream.id);
      else if (!(error instanceof Unknown)) throw error;
    }
  }

  hold(key) {
    this.key = key;
    sessionStorage.setItem(KEPT + this.stream.id, key);
    this.secret.hold(this.whole());
    this.paint();
  }

  whole() {
    return `${location.origin}${this.path ?? "/overlay/all"}#${encodeURIComponent(this.key)}`;
  }

  // Whether it is to be seen stays as it was: only what it leads to has changed.
  pointAt(path) {
    this.path = path;
    if (!this.key) return;
    this.secret.url = this.whole();
    this.secret.paint();
  }
}
