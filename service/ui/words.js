// Numbers and times as people read them.
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export function sizeOf(bytes) {
  let unit = 0;
  while (bytes >= 1000 && unit < UNITS.length - 1) {
    bytes /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? bytes : bytes.toFixed(bytes < 10 ? 1 : 0)} ${UNITS[unit]}`;
}

export const seconds = (ms) => (ms < 9950 ? `${(ms / 1000).toFixed(ms < 995 ? 2 : 1)} s` : `${Math.round(ms / 1000)} s`);

export const counted = (count, one, many = `${one}s`) => `${count} ${count === 1 ? one : many}`;

export function dayOf(time) {
  const days = Math.floor((new Date().setHours(0, 0, 0, 0) - new Date(time).setHours(0, 0, 0, 0)) / 86_400_000);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  return days < 7 ? "This week" : new Date(time).toLocaleDateString(undefined, { month: "long", year: "numeric" });
}

export const momentOf = (unixSeconds) => new Date(unixSeconds * 1000).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
