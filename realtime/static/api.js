// Talk to our API. Three ways a call can end, and they must never be mixed up: an answer, a refusal (the server
// said no), and not knowing (the network failed, or the server asks to repeat). Not knowing is never "failed".

export class Refusal extends Error {
  constructor(status, body) {
    super(body.detail || `HTTP ${status}`);
    this.status = status;
    this.code = body.code || "error";
    this.body = body;
  }
}

export class Unknown extends Error {
  constructor(message, retryAfterMs = null) {
    super(message);
    this.retryAfterMs = retryAfterMs;
  }
}

// Deadlines are the server's: its clock is read off its answers, from the quickest one so far.
const clockOf = { skewMs: 0, tripMs: Infinity };

export function serverNow() {
  return Date.now() + clockOf.skewMs;
}

function noteClock(header, sentAt) {
  const server = Number(header);
  const tripMs = Date.now() - sentAt;
  if (!server || tripMs > clockOf.tripMs) return;
  clockOf.tripMs = tripMs;
  clockOf.skewMs = server + tripMs / 2 - Date.now();
}

export async function call(method, path, { token, body, headers = {}, timeoutMs = 15000 } = {}) {
  const stop = new AbortController();
  const timer = setTimeout(() => stop.abort(), timeoutMs);
  const sentAt = Date.now();
  const sent = { accept: "application/json", ...headers };
  if (token) sent.authorization = `Bearer ${token}`;
  if (body !== undefined) sent["content-type"] = "application/json";
  try {
    const response = await fetch(`/v1${path}`, {
      method,
      headers: sent,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: stop.signal,
      cache: "no-cache",
      credentials: "omit",
    });
    noteClock(response.headers.get("x-server-time"), sentAt);
    const answer = response.status === 204 ? {} : await response.json().catch(() => null);
    if (response.ok && answer !== null) return answer;
    if (response.status >= 500 || response.status === 429 || response.status === 408 || response.ok) {
      const seconds = Number(response.headers.get("retry-after")) || null;
      throw new Unknown(`HTTP ${response.status}`, answer?.retry_after_ms ?? (seconds && seconds * 1000));
    }
    throw new Refusal(response.status, answer || {});
  } catch (error) {
    if (error instanceof Refusal || error instanceof Unknown) throw error;
    throw new Unknown(error.message);
  } finally {
    clearTimeout(timer);
  }
}

export function sleep(ms) {
  return new Promise((wake) => setTimeout(wake, ms));
}

// Repeat until it is known: what the server asked for, or a growing wait, always with jitter.
export async function untilKnown(attempt, { onWait = () => {}, tries = Infinity } = {}) {
  for (let n = 1; ; n += 1) {
    try {
      return await attempt();
    } catch (error) {
      if (!(error instanceof Unknown) || n >= tries) throw error;
      onWait(n);
      const base = error.retryAfterMs ?? Math.min(8000, 400 * 2 ** Math.min(n, 6));
      await sleep(base * (0.75 + Math.random() / 2));
    }
  }
}

// crypto.randomUUID wants a secure context; a phone in the same room may come over plain http.
export function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) =>
    byte.toString(16).padStart(2, "0"),
  ).join("");
}
