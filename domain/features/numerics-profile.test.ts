import { expect, test } from "vitest";
import { anyProfile, fitsProfile, type NumericsProfile } from "./numerics-profile.js";

const profile: NumericsProfile = {
  engine: "onnx",
  engineVersion: "1",
  device: "cpu",
  instructionSet: "avx2",
  threads: 2,
  batch: 8,
  decoder: "sharp 1",
};

test.each(Object.keys(profile) as (keyof NumericsProfile)[])(
  "a profile with another %s does not fit; where any is wanted, only the engine matters",
  (field) => {
    const other = { ...profile, [field]: typeof profile[field] === "number" ? 99 : "other" };
    expect(fitsProfile(profile, profile)).toBe(true);
    expect(fitsProfile(other, profile)).toBe(false);
    expect(fitsProfile(other, anyProfile("onnx"))).toBe(field !== "engine");
  },
);
