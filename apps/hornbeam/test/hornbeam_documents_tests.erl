%% SPDX-License-Identifier: Apache-2.0
%% @doc Documents say what the code does: the option table, the list of modules.
-module(hornbeam_documents_tests).

-include_lib("eunit/include/eunit.hrl").

root() ->
    Parts = filename:split(code:lib_dir(hornbeam)),
    filename:join(lists:takewhile(fun(Part) -> Part =/= "_build" end, Parts)).

read(Parts) ->
    {ok, Text} = file:read_file(filename:join([root() | Parts])),
    Text.

the_readme_has_the_option_table_test() ->
    ?assertNotEqual(nomatch, binary:match(read(["README.md"]), hornbeam_options:document())).

every_erlang_module_is_in_the_architecture_test() ->
    Text = read(["docs", "ARCHITECTURE.md"]),
    ?assertEqual([], [M || M <- modules("apps/hornbeam/src/*.erl"), not is_in(M, Text)]).

every_python_module_is_in_the_architecture_test() ->
    Text = read(["docs", "ARCHITECTURE.md"]),
    Modules = modules("python/hornbeam_erlang/*.{py,pyx}"),
    ?assertEqual([], [M || M <- Modules, not mentioned(M, Text)]).

modules(Pattern) ->
    Files = [_ | _] = filelib:wildcard(filename:join(root(), Pattern)),
    [list_to_binary(filename:basename(filename:rootname(File))) || File <- Files].

%% `_codec_pure*' stands for all that begin so.
mentioned(<<"_codec_pure", _/binary>>, Text) -> is_in(<<"_codec_pure*">>, Text);
mentioned(Name, Text) -> is_in(Name, Text).

is_in(Name, Text) -> nomatch =/= binary:match(Text, <<"`", Name/binary, "`">>).
