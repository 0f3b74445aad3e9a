# Raw data is for the targets of this package; what it is made into is for the models.
package(
    default_visibility = ["//visibility:private"],
    licenses = ["CC0-1.0"],
)

package_group(
    name = "users",
    packages = ["//models/..."],
)

genrule(
    name = "rows",
    srcs = ["rows.csv"],
    outs = ["rows.txt"],
    cmd = select({
        "//config:all_rows": "cat $< > $@",
        "//conditions:default": "head -n 3 $< > $@",
    }),
    visibility = [":users"],
)
