// What an overlay that watches a rehearsal says about it, always: that it is one, that it is over, or that there is none.
// A status that has ended and was never live is what a rehearsal leaves that somebody stopped.

export function isOn(status) {
  return Boolean(status && (status.state !== "ended" || status.live_at));
}

// The word on the badge. Until the server has said anything, there may be one.
export function badge(status, link) {
  if (isOn(status)) return status.state === "ended" ? "rehearsalOver" : "rehearsal";
  return status || link === "live" ? "rehearsalNone" : "rehearsal";
}
