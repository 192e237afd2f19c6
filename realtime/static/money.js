// Amounts are whole numbers of minor units. They become text digit by digit: no float comes near them.

import { locale } from "./i18n.js";

const DECIMALS = {
  0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
  3: "BHD IQD JOD KWD LYD OMR TND",
  4: "CLF UYW",
};

export function decimals(currency) {
  for (const [digits, codes] of Object.entries(DECIMALS)) {
    if (codes.split(" ").includes(currency)) return Number(digits);
  }
  return 2;
}

const formats = new Map();

function format(currency, digits) {
  const key = currency + digits;
  if (!formats.has(key)) {
    formats.set(
      key,
      new Intl.NumberFormat(locale, {
        style: "currency",
        currency,
        currencyDisplay: "narrowSymbol",
        minimumFractionDigits: digits,
        maximumFractionDigits: digits,
      }),
    );
  }
  return formats.get(key);
}

// round: leave the decimals away when they are all zero ("¥500,000" for a goal), never otherwise.
export function money(minor, currency, { round = false } = {}) {
  const digits = decimals(currency);
  const text = String(Math.abs(minor)).padStart(digits + 1, "0");
  const major = BigInt(text.slice(0, text.length - digits) || "0");
  const rest = digits ? text.slice(-digits) : "";
  const bare = round && /^0*$/.test(rest);
  const parts = format(currency, bare ? 0 : digits).formatToParts(minor < 0 ? -major : major);
  const shown = parts.map((part) => (part.type === "fraction" ? rest : part.value)).join("");
  return minor < 0 && major === 0n ? `-${shown}` : shown;
}

// Stripe counts three currencies otherwise than ISO 4217 does.
export function stripeAmount(minor, currency) {
  if (currency === "ISK" || currency === "UGX") return minor * 100;
  if (currency === "MGA") return minor / 100;
  return minor;
}

// "50000.5" → minor units, digit by digit; null for anything that is no amount.
export function minorOf(text, currency) {
  const digits = decimals(currency);
  const found = /^(\d{1,12})(?:[.,](\d{1,4}))?$/.exec(text.trim().replace(/[\s']/g, ""));
  if (!found || (found[2] ?? "").length > digits) return null;
  const minor = BigInt(found[1] + (found[2] ?? "").padEnd(digits, "0"));
  return minor <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(minor) : null;
}
