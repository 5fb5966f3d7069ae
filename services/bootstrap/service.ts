import { V1Secret } from "@kubernetes/client-node";
import type { Logger } from "pino";
import type { z } from "zod";
import { CodedError } from "../../domain/errors.js";
import { BackboneStore } from "../../platform/backbone-store/backbone-store.js";
import { findOrAddBackbone, listBundledBackbones } from "../../platform/backbone-store/bundled.js";
import { connectBucket, makeBucket } from "../../platform/bucket/minio.js";
import { systemClock } from "../../platform/clock/system.js";
import { uploadTo } from "../../platform/dataset-source/open-dataset.js";
import type { Kubernetes } from "../../platform/kubernetes/kubernetes.js";
import { checkedLocation, openObjectStore, serverRetries } from "../../platform/object-store/open-store.js";
import { retry, type RetryDeps } from "../../platform/retry/retry.js";
import type { contentConfig } from "./config.js";
import type { DemoSecret } from "./demo-secrets.js";

const retryDeps: RetryDeps = { clock: systemClock, random: Math.random };

/** Makes the Secrets that are not there; one that is there stays as it is, whatever it holds. @throws CodedError CLUSTER_REFUSED, CLUSTER_UNAVAILABLE */
export async function makeSecrets(kubernetes: Kubernetes, namespace: string, secrets: readonly DemoSecret[], log: Logger): Promise<void> {
  for (const { name, type, values } of secrets) {
    const body = Object.assign(new V1Secret(), {
      metadata: { name, labels: { "app.kubernetes.io/part-of": "graft" } },
      type,
      stringData: { ...values },
    });
    try {
      await kubernetes.request(`create Secret ${namespace}/${name}`, () => kubernetes.core.createNamespacedSecret({ namespace, body }));
      log.info({ secret: name }, "made");
    } catch (error) {
      if (!(error instanceof CodedError) || error.code !== "CLUSTER_CONFLICT") throw error;
      log.info({ secret: name }, "was there before");
    }
  }
}

/** Makes the buckets, and brings the backbones that come with graft and a folder of pictures there; again only what is missing. @throws CodedError STORE_UNAVAILABLE, ACCESS_DENIED, CONFIG_INVALID and those of the dataset */
export async function bringContent({ store, pictures }: z.output<typeof contentConfig>, log: Logger): Promise<void> {
  if (store.s3 === undefined)
    throw new CodedError(
      "CONFIG_INVALID",
      `store ${store.location}: expected the address and keys of an S3-compatible server in store.s3, found none`,
    );
  const { s3 } = store;
  for (const location of [store.location, pictures.location]) {
    const { bucket } = checkedLocation(location, "location");
    await retry(serverRetries, () => makeBucket(connectBucket(s3, bucket)), retryDeps);
    log.info({ bucket }, "bucket is there");
  }
  const backbones = new BackboneStore(await openObjectStore(store.location, s3, retryDeps));
  for (const { name } of await listBundledBackbones()) {
    const { digest } = await findOrAddBackbone(backbones, name, undefined);
    log.info({ backbone: name, digest }, "backbone is there");
  }
  const { files, skipped, source } = await uploadTo(pictures.folder, pictures.location, s3, retryDeps, () => undefined);
  log.info({ source, files, skipped }, "pictures are there");
}
