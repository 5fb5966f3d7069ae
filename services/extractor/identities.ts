import type { ListingRow } from "../../formats/listing/listing.js";
import type { DatasetSource } from "../../platform/dataset-source/dataset-source.js";
import type { IdentityRow, IdentityStore, Identity } from "../../platform/identity-store/identity-store.js";
import type { ImageDecoder } from "../../platform/image-decoder/image-decoder.js";
