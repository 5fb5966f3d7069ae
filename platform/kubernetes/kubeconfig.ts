import { existsSync } from "node:fs";
import { KubeConfig } from "@kubernetes/client-node";

/**
 * Reads kubeconfig files into one as kubectl does: of two things of one name the first file's counts, as does the first current context; files that are not there are left out where
 * others are.
 */
export function loadKubeconfigs(config: KubeConfig, files: readonly string[]): void {
  const there = files.length > 1 ? files.filter((file) => existsSync(file)) : files;
  const configs = there.map((file) => {
    const each = new KubeConfig();
    each.loadFromFile(file);
    return each;
  });
  config.loadFromOptions({
    clusters: firstOfEachName(configs.flatMap((each) => each.getClusters())),
    users: firstOfEachName(configs.flatMap((each) => each.getUsers())),
    contexts: firstOfEachName(configs.flatMap((each) => each.getContexts())),
    currentContext: configs.map((each) => each.getCurrentContext()).find((context) => Boolean(context)),
  });
}

function firstOfEachName<T extends { readonly name: string }>(all: readonly T[]): T[] {
  return all.filter(({ name }, index) => all.findIndex((each) => each.name === name) === index);
}
