"""One message as people look at it: its way as steps, its content as lines with paths and names, what differs, what to do.

Everything here is a value made from rows of the store and from bytes: no web, no terminal, no time of day. The console and
`wardline show` say the same because both ask here. Content is hostile: whatever is made of it is bounded in size and time,
holds text and never markup, and `marks` says how its characters are shown.
"""
