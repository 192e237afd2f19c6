// What a basket comes to, before it is placed: the same whole-number rules as the server's, which has the last word.

const WHOLE_BP = 10_000;

// Parts in proportion to weights that sum to the total: rounded down, then one unit each to the largest remainders,
// among equals to the first.
export function largestRemainder(total, weights) {
  const whole = BigInt(weights.reduce((sum, weight) => sum + weight, 0));
  if (whole === 0n) return weights.map(() => 0);
  const products = weights.map((weight) => BigInt(total) * BigInt(weight));
  const parts = products.map((product) => Number(product / whole));
  const order = products.map((product, index) => [product % whole, index]);
  order.sort(([a, i], [b, j]) => (a === b ? i - j : a > b ? -1 : 1));
  const over = total - parts.reduce((sum, part) => sum + part, 0);
  for (const [, index] of order.slice(0, over)) parts[index] += 1;
  return parts;
}

// The tax within an amount, rounded half up.
export function taxPart(amountMinor, taxBp) {
  const gross = BigInt(WHOLE_BP + taxBp);
  return Number((2n * BigInt(amountMinor) * BigInt(taxBp) + gross) / (2n * gross));
}

// null: heavier than the heaviest class.
export function shippingMinor(rule, goodsMinor, weightG) {
  if (rule.type === "free") return 0;
  const heavy = rule.type === "by_weight" && weightG > rule.classes.at(-1).up_to_g;
  if (heavy) return null;
  if (rule.free_from_minor != null && goodsMinor >= rule.free_from_minor) return 0;
  if (rule.type === "flat") return rule.amount_minor;
  return rule.classes.find((each) => weightG <= each.up_to_g).amount_minor;
}

// offers: of the storefront; lines: [{sku, quantity}]; extras: as they are sent, or null.
export function reckon(front, lines, extras) {
  const sums = { goods: 0, tax: 0, shipping: 0, gifts: 0, roundUp: 0, weightG: 0 };
  for (const { sku, quantity } of lines) {
    const offer = front.offers.find((one) => one.sku === sku);
    const amount = offer.price_minor * quantity;
    sums.goods += amount;
    sums.tax += taxPart(amount, offer.tax_bp);
    sums.weightG += offer.weight_g * quantity;
  }
  sums.shipping = sums.goods ? shippingMinor(front.shipping.rule, sums.goods, sums.weightG) : 0;
  const given = (extras?.gift?.amount_minor ?? 0) + (extras?.extra_minor ?? 0);
  const before = sums.goods + (sums.shipping ?? 0) + given;
  const step = extras?.round_up_to_minor;
  sums.roundUp = step && sums.goods ? (step - (before % step)) % step : 0;
  sums.gifts = given + sums.roundUp;
  sums.total = before + sums.roundUp;
  return sums;
}
