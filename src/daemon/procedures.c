/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The procedures of libvirt's remote program that a storage daemon answers: number, name, shapes, and who may call
 * it when. Sorted by number. docs/protocol/procedures.md is this table in words.
 */
#include <stdlib.h>

#include "daemon/daemon.h"

#define READ PLK_CALL_READ_ONLY
#define EARLY (PLK_CALL_READ_ONLY | PLK_CALL_UNOPENED)
#define FIRST (EARLY | PLK_CALL_UNKNOWN)
#define WRITE 0

#define SHAPE(t) (xdrproc_t)xdr_rpc_##t, sizeof(rpc_##t)
#define NOTHING NULL, 0

/* number, flags, name, shape and size of arguments, of the result, what carries it out */
#define P(number_, flags_, name_, args_, ret_, run_) ROW(number_, flags_, name_, args_, ret_, run_)
#define ROW(number_, flags_, name_, args_, args_size_, ret_, ret_size_, run_) \
    { .number = number_, .flags = flags_, .name = name_, .args = args_, .args_size = args_size_, .ret = ret_, \
      .ret_size = ret_size_, .run = plk_proc_##run_ }

static const PlkProcedure procedures[] = {
    P(1, EARLY, "CONNECT_OPEN", SHAPE(open), NOTHING, open),
    P(2, EARLY, "CONNECT_CLOSE", NOTHING, NOTHING, close),
    P(3, READ, "CONNECT_GET_TYPE", NOTHING, SHAPE(name), type),
    P(4, READ, "CONNECT_GET_VERSION", NOTHING, SHAPE(uhyper), version),
    P(7, READ, "CONNECT_GET_CAPABILITIES", NOTHING, SHAPE(name), capabilities),
    P(59, READ, "CONNECT_GET_HOSTNAME", NOTHING, SHAPE(name), hostname),
    P(60, EARLY, "CONNECT_SUPPORTS_FEATURE", SHAPE(int), SHAPE(int), feature),
    P(66, FIRST, "AUTH_LIST", NOTHING, SHAPE(auth_types), auth_list),
    P(67, FIRST, "AUTH_SASL_INIT", NOTHING, SHAPE(name), auth_sasl_init),
    P(68, FIRST, "AUTH_SASL_START", SHAPE(sasl_start), SHAPE(sasl_reply), auth_sasl_start),
    P(69, FIRST, "AUTH_SASL_STEP", SHAPE(sasl_step), SHAPE(sasl_reply), auth_sasl_step),
    P(70, FIRST, "AUTH_POLKIT", NOTHING, SHAPE(int), auth_polkit),
    P(71, READ, "CONNECT_NUM_OF_STORAGE_POOLS", NOTHING, SHAPE(int), pool_num_active),
    P(72, READ, "CONNECT_LIST_STORAGE_POOLS", SHAPE(int), SHAPE(names), pool_names_active),
    P(73, READ, "CONNECT_NUM_OF_DEFINED_STORAGE_POOLS", NOTHING, SHAPE(int), pool_num_defined),
    P(74, READ, "CONNECT_LIST_DEFINED_STORAGE_POOLS", SHAPE(int), SHAPE(names), pool_names_defined),
    P(75, WRITE, "CONNECT_FIND_STORAGE_POOL_SOURCES", SHAPE(find_sources), SHAPE(name), find_sources),
    P(76, WRITE, "STORAGE_POOL_CREATE_XML", SHAPE(xml_flags), SHAPE(pool), pool_create_xml),
    P(77, WRITE, "STORAGE_POOL_DEFINE_XML", SHAPE(xml_flags), SHAPE(pool), pool_define_xml),
    P(78, WRITE, "STORAGE_POOL_CREATE", SHAPE(pool_flags), NOTHING, pool_create),
    P(79, WRITE, "STORAGE_POOL_BUILD", SHAPE(pool_flags), NOTHING, pool_build),
    P(80, WRITE, "STORAGE_POOL_DESTROY", SHAPE(pool), NOTHING, pool_destroy),
    P(81, WRITE, "STORAGE_POOL_DELETE", SHAPE(pool_flags), NOTHING, pool_delete),
    P(82, WRITE, "STORAGE_POOL_UNDEFINE", SHAPE(pool), NOTHING, pool_undefine),
    P(83, WRITE, "STORAGE_POOL_REFRESH", SHAPE(pool_flags), NOTHING, pool_refresh),
    P(84, READ, "STORAGE_POOL_LOOKUP_BY_NAME", SHAPE(name), SHAPE(pool), pool_by_name),
    P(85, READ, "STORAGE_POOL_LOOKUP_BY_UUID", SHAPE(uuid), SHAPE(pool), pool_by_uuid),
    P(86, READ, "STORAGE_POOL_LOOKUP_BY_VOLUME", SHAPE(vol), SHAPE(pool), pool_by_volume),
    P(87, READ, "STORAGE_POOL_GET_INFO", SHAPE(pool), SHAPE(pool_info), pool_info),
    P(88, READ, "STORAGE_POOL_GET_XML_DESC", SHAPE(pool_flags), SHAPE(name), pool_xml),
    P(89, READ, "STORAGE_POOL_GET_AUTOSTART", SHAPE(pool), SHAPE(int), pool_get_autostart),
    P(90, WRITE, "STORAGE_POOL_SET_AUTOSTART", SHAPE(pool_int), NOTHING, pool_set_autostart),
    P(91, READ, "STORAGE_POOL_NUM_OF_VOLUMES", SHAPE(pool), SHAPE(int), vol_num),
    P(92, READ, "STORAGE_POOL_LIST_VOLUMES", SHAPE(pool_int), SHAPE(names), vol_names),
    P(93, WRITE, "STORAGE_VOL_CREATE_XML", SHAPE(pool_xml), SHAPE(vol), vol_create),
    P(94, WRITE, "STORAGE_VOL_DELETE", SHAPE(vol_flags), NOTHING, vol_delete),
    P(95, READ, "STORAGE_VOL_LOOKUP_BY_NAME", SHAPE(pool_name), SHAPE(vol), vol_by_name),
    P(96, READ, "STORAGE_VOL_LOOKUP_BY_KEY", SHAPE(name), SHAPE(vol), vol_by_key),
    P(97, READ, "STORAGE_VOL_LOOKUP_BY_PATH", SHAPE(name), SHAPE(vol), vol_by_path),
    P(98, READ, "STORAGE_VOL_GET_INFO", SHAPE(vol), SHAPE(vol_info), vol_info),
    P(99, READ, "STORAGE_VOL_GET_XML_DESC", SHAPE(vol_flags), SHAPE(name), vol_xml),
    P(100, READ, "STORAGE_VOL_GET_PATH", SHAPE(vol), SHAPE(name), vol_path),
    P(110, READ, "CONNECT_GET_URI", NOTHING, SHAPE(name), uri),
    P(125, WRITE, "STORAGE_VOL_CREATE_XML_FROM", SHAPE(pool_xml_from), SHAPE(vol), vol_create_from),
    P(149, READ, "CONNECT_IS_SECURE", NOTHING, SHAPE(int), is_secure),
    P(154, READ, "STORAGE_POOL_IS_ACTIVE", SHAPE(pool), SHAPE(int), pool_is_active),
    P(155, READ, "STORAGE_POOL_IS_PERSISTENT", SHAPE(pool), SHAPE(int), pool_is_persistent),
    P(157, READ, "CONNECT_GET_LIB_VERSION", NOTHING, SHAPE(uhyper), lib_version),
    P(165, WRITE, "STORAGE_VOL_WIPE", SHAPE(vol_flags), NOTHING, vol_wipe),
    P(208, WRITE, "STORAGE_VOL_UPLOAD", SHAPE(vol_range), NOTHING, vol_upload),
    P(209, WRITE, "STORAGE_VOL_DOWNLOAD", SHAPE(vol_range), NOTHING, vol_download),
    P(259, WRITE, "STORAGE_VOL_WIPE_PATTERN", SHAPE(vol_wipe), NOTHING, vol_wipe_pattern),
    P(260, WRITE, "STORAGE_VOL_RESIZE", SHAPE(vol_resize), NOTHING, vol_resize),
    P(281, READ, "CONNECT_LIST_ALL_STORAGE_POOLS", SHAPE(list), SHAPE(pools), pool_list_all),
    P(282, READ, "STORAGE_POOL_LIST_ALL_VOLUMES", SHAPE(pool_list), SHAPE(vols), vol_list_all),
    P(360, READ, "CONNECT_REGISTER_CLOSE_CALLBACK", NOTHING, NOTHING, close_callback),
    P(361, READ, "CONNECT_UNREGISTER_CLOSE_CALLBACK", NOTHING, NOTHING, close_callback),
    P(368, READ, "CONNECT_STORAGE_POOL_EVENT_REGISTER_ANY", SHAPE(event_filter), SHAPE(int), event_register),
    P(369, READ, "CONNECT_STORAGE_POOL_EVENT_DEREGISTER_ANY", SHAPE(int), NOTHING, event_deregister),
    P(378, READ, "STORAGE_VOL_GET_INFO_FLAGS", SHAPE(vol_flags), SHAPE(vol_info), vol_info_flags),
    P(391, READ, "STORAGE_POOL_LOOKUP_BY_TARGET_PATH", SHAPE(name), SHAPE(pool), pool_by_path),
    P(403, READ, "CONNECT_GET_STORAGE_POOL_CAPABILITIES", SHAPE(uint), SHAPE(name), pool_capabilities),
    P(419, WRITE, "CONNECT_SET_IDENTITY", SHAPE(identity), NOTHING, set_identity),
};

static int compare(const void *number, const void *procedure)
{
    int32_t a = *(const int32_t *)number, b = ((const PlkProcedure *)procedure)->number;

    return (a > b) - (a < b);
}

static const PlkProcedure *find(int32_t number)
{
    return bsearch(&number, procedures, sizeof procedures / sizeof procedures[0], sizeof procedures[0], compare);
}

const PlkProgram plk_program_remote = {.id = PLK_PROGRAM_REMOTE, .version = 1, .find = find};
