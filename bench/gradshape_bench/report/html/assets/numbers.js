// How numbers are written.

function number(value, places = 3) {
  if (value === null || value === undefined) return "";
  if (Math.abs(value) >= 1e6) return value.toPrecision(4);
  if (Math.abs(value) >= 100) return value.toFixed(Number.isInteger(value) ? 0 : 1);
  const text = value.toFixed(places);
  return /^-0\.?0*$/.test(text) ? text.slice(1) : text;
}

function signed(value, places = 3) {
  if (value === null || value === undefined) return "";
  const text = number(value, places);
  return /^-/.test(text) ? text.replace("-", "−") : /[1-9]/.test(text) ? `+${text}` : text;
}

function interval(low, high, places = 3) {
  if (low === null || low === undefined || high === null || high === undefined) return "";
  return `[${number(low, places)}, ${number(high, places)}]`;
}

const percent = (share) => `${Number((100 * share).toPrecision(4))} %`;
const sentence = (words) => words[0].toUpperCase() + words.slice(1);
const counted = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const grouped = (count) => count.toLocaleString("en");
