// What the critic says of a gate: two orders, a reason for each place, and the pictures that it set aside.
import { get } from "./api.js";

const CHOICE = "flenwheel-order";
const percent = (share) => `${Math.round(100 * share)} %`;

export class Critic {
  constructor(columns) { Object.assign(this, columns); }

  // Null where no critic was asked.
  static async of(store, asked) {
    if (!asked) return null;
    return new Critic(await get(`${store.path}/critic`));
  }

  place(order, position) { return (order === "useful" ? this.useful_place : this.good_place)[position]; }

  // Set aside, and nobody decided otherwise.
  aside(position, kind) { return this.set_aside[position] && kind === "undecided"; }

  short(position) {
    const chances = this.chances[position];
    return chances ? `${percent(chances[2])} good` : "";
  }

  mark(position) {
    if (this.set_aside[position]) return "set aside";
    if (this.audit[position] && this.says_reject[position]) return "audit";
    return this.by_lot[position] ? "by lot" : "";
  }

  rows(position) {
    const chances = this.chances[position];
    const found = [["Why here", this.why[position]]];
    if (chances) {
      const [reject, correct, good] = chances.map(percent);
      const reasons = this.reasons[position];
      found.push(["Critic", `good ${good}, to correct ${correct}, reject ${reject}${reasons.length ? `; if not good, likely: ${reasons.join(", ")}` : ""}`]);
    }
    return found;
  }
}

// The order that this browser was left with; the critic's own where nothing was chosen.
export const chosenOrder = () => localStorage.getItem(CHOICE) || "useful";
export const keepOrder = (order) => { if (["useful", "likely", "gate"].includes(order)) localStorage.setItem(CHOICE, order); };
