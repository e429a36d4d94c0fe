%% SPDX-License-Identifier: Apache-2.0
%% @doc The option `cluster': which nodes this one connects to, and under which name DNS has them.
%% Pure, but for the question whether this node has a name; runs in the process that checks the
%% options.
-module(hornbeam_cluster_options).

-export([check/1, expected/0, none/0, is_possible/1]).
-export_type([cluster/0]).

-type cluster() :: #{
    %% Names `name@host'.
    nodes := [binary()],
    dns := binary() | undefined,
    %% What is before the `@' of the nodes that DNS has; `undefined' for this node's own.
    basename := binary() | undefined,
    %% Milliseconds between two questions to DNS.
    interval := pos_integer()
}.

-define(MOST_NODES, 1024).
-define(INTERVAL, 5000).
-define(DAY, 86400000).
%% RFC 1035, 2.3.4.
-define(LONGEST_HOST, 253).
-define(HOST, "^[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9])?\\.?$").

%% @doc Joins nobody.
-spec none() ->
    #{nodes := [], dns := undefined, basename := undefined, interval := ?INTERVAL}.
none() ->
    #{nodes => [], dns => undefined, basename => undefined, interval => ?INTERVAL}.

-spec expected() -> binary().
expected() ->
    iolist_to_binary([
        "a map of nodes => names of nodes, dns => the name of a host, basename => text, ",
        "interval => milliseconds"
    ]).

%% @doc The option in its one form.
-spec check(term()) -> {ok, cluster()} | error | {error, What :: binary()}.
check(Given) when is_map(Given) ->
    case maps:keys(maps:without(maps:keys(none()), Given)) of
        [] -> check(lists:sort(maps:to_list(Given)), none());
        [Unknown | _] -> {error, said("it has no ~0tp", [Unknown])}
    end;
check(_) ->
    error.

check([], #{dns := undefined, basename := Name}) when Name =/= undefined ->
    {error, <<"basename has no effect without dns">>};
check([], Cluster) ->
    {ok, Cluster};
check([{Key, Value} | Rest], Cluster) ->
    case value(Key, Value) of
        {ok, Normal} -> check(Rest, Cluster#{Key := Normal});
        error -> {error, said("its ~ts is ~0tP", [Key, Value, 20])}
    end.

said(Format, Arguments) ->
    unicode:characters_to_binary(io_lib:format(Format, Arguments)).

value(nodes, Nodes) when is_list(Nodes), length(Nodes) =< ?MOST_NODES -> names(Nodes, []);
value(dns, undefined) -> {ok, undefined};
value(dns, Name) -> matching(Name, ?HOST, ?LONGEST_HOST);
value(basename, undefined) -> {ok, undefined};
value(basename, Name) -> matching(Name, "^[A-Za-z0-9_-]+$", 64);
value(interval, Interval) when is_integer(Interval), Interval >= 100, Interval =< ?DAY ->
    {ok, Interval};
value(_, _) -> error.

names([Name | Rest], Names) ->
    case matching(Name, "^[A-Za-z0-9_-]+@[A-Za-z0-9_.:%-]+$", 255) of
        {ok, Text} -> names(Rest, [Text | Names]);
        error -> error
    end;
names([], Names) ->
    {ok, lists:usort(Names)}.

matching(Name, Pattern, Longest) ->
    case text(Name) of
        {ok, Text} when byte_size(Text) =< Longest ->
            case re:run(Text, Pattern, [{capture, none}, dollar_endonly]) of
                match -> {ok, Text};
                nomatch -> error
            end;
        _ ->
            error
    end.

text(Name) when is_atom(Name) -> {ok, atom_to_binary(Name)};
text(Name) -> hornbeam_options_type:text(Name).

%% @doc A node without a name can join nobody.
-spec is_possible(#{cluster := cluster(), _ => _}) -> ok | {error, {not_distributed, cluster}}.
is_possible(#{cluster := #{nodes := [], dns := undefined}}) ->
    ok;
is_possible(_) ->
    case is_alive() of
        true -> ok;
        false -> {error, {not_distributed, cluster}}
    end.
