/** struct hvm_start_info: "xEn3" with the top bit of E set. */
export const START_MAGIC = 0x336e_c578;
/** Bytes of version 1. */
export const START_INFO_SIZE = 56;
/** Bytes of struct hvm_memmap_table_entry. */
export const MEMORY_RANGE_SIZE = 24;
