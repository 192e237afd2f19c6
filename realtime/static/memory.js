// What the browser keeps for us. Storage may be full or forbidden: then the page still works until it is closed.

const fallback = new Map();

export function recall(key) {
  try {
    return localStorage.getItem(key) ?? fallback.get(key) ?? null;
  } catch {
    return fallback.get(key) ?? null;
  }
}

export function remember(key, value) {
  fallback.set(key, value);
  try {
    localStorage.setItem(key, value);
  } catch {
    // Kept in memory above; the page goes on.
  }
}

export function forget(key) {
  fallback.delete(key);
  try {
    localStorage.removeItem(key);
  } catch {
    // It was never stored there.
  }
}

export function recallJson(key) {
  try {
    return JSON.parse(recall(key));
  } catch {
    return null;
  }
}
