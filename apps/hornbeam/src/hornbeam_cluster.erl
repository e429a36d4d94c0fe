%% SPDX-License-Identifier: Apache-2.0
%% @doc Which hornbeam nodes there are, and which handlers and functions each of them has.
%%
%% One process on every node is a member of groups of the `pg' scope `hornbeam_provided': of `nodes'
%% while hornbeam runs there, of `{hook, Path}' while a worker or Erlang has that handler, of
%% `{function, Name}' while that function is registered. `pg' tells all connected nodes, forgets
%% the groups of a node that is gone, and exchanges them again with one that is back. Who changes
%% what a node provides tells the process (changed/1), which looks for itself what is there now.
%% The other functions run in the caller.
-module(hornbeam_cluster).
-behaviour(gen_server).

-export([start_link/0, scope/0, changed/1, providers/1, nodes/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).
-export_type([provided/0]).

-compile({no_auto_import, [nodes/0]}).

-define(SCOPE, hornbeam_provided).

-type provided() :: {hook, hornbeam_hooks_table:path()} | {function, binary()}.

%% What this node is known for.
-type state() :: #{provided() => []}.

-spec start_link() -> {ok, pid()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec scope() -> ?SCOPE.
scope() ->
    ?SCOPE.

%% @doc These may have come to this node, or gone.
-spec changed([provided()]) -> ok.
changed([]) -> ok;
changed(Provided) -> gen_server:cast(?MODULE, {changed, Provided}).

%% @doc The processes of the other nodes that have it, in random order: none knows how busy another
%% one is, and by chance the load is spread.
-spec providers(provided()) -> [pid()].
providers(Provided) ->
    case [Pid || Pid <- pg:get_members(?SCOPE, Provided), node(Pid) =/= node()] of
        [_, _ | _] = Several ->
            [Pid || {_, Pid} <- lists:sort([{rand:uniform(), Pid} || Pid <- Several])];
        AtMostOne ->
            AtMostOne
    end.

%% @doc The hornbeam nodes of the cluster, this one included, and what they have.
-spec nodes() -> #{node() => #{hooks := [binary()], functions := [binary()]}}.
nodes() ->
    Here = #{hooks => [], functions => []},
    Nodes = maps:from_list([{node(Pid), Here} || Pid <- pg:get_members(?SCOPE, nodes)]),
    lists:foldl(fun add/2, Nodes, lists:reverse(lists:sort(pg:which_groups(?SCOPE)))).

add(nodes, Nodes) ->
    Nodes;
add({Kind, Name} = Group, Nodes) ->
    Key = maps:get(Kind, #{hook => hooks, function => functions}),
    Having = lists:usort([node(Pid) || Pid <- pg:get_members(?SCOPE, Group)]),
    lists:foldl(fun(Node, Acc) -> add(Node, Key, Name, Acc) end, Nodes, Having).

%% A node that comes or goes meanwhile is there without its groups, or they without it.
add(Node, Key, Name, Nodes) ->
    case Nodes of
        #{Node := #{Key := Names} = Has} -> Nodes#{Node := Has#{Key := [Name | Names]}};
        #{} -> Nodes
    end.

-spec init([]) -> {ok, state()}.
init([]) ->
    ok = pg:join(?SCOPE, nodes, self()),
    Hooks = [{hook, Path} || Path <- maps:keys(hornbeam_hooks_table:paths())],
    Functions = [{function, Name} || Name <- hornbeam_functions:names()],
    {ok, lists:foldl(fun look/2, #{}, Hooks ++ Functions)}.

-spec handle_call(term(), gen_server:from(), state()) -> {reply, {error, unknown_call}, state()}.
handle_call(_Call, _From, State) ->
    {reply, {error, unknown_call}, State}.

-spec handle_cast(term(), state()) -> {noreply, state()}.
handle_cast({changed, Provided}, State) ->
    {noreply, lists:foldl(fun look/2, State, Provided)};
handle_cast(_Cast, State) ->
    {noreply, State}.

-spec handle_info(term(), state()) -> {noreply, state()}.
handle_info(_Info, State) ->
    {noreply, State}.

look(Provided, State) ->
    case {is_here(Provided), is_map_key(Provided, State)} of
        {true, false} ->
            ok = pg:join(?SCOPE, Provided, self()),
            State#{Provided => []};
        {false, true} ->
            ok = pg:leave(?SCOPE, Provided, self()),
            maps:remove(Provided, State);
        _ ->
            State
    end.

is_here({hook, Path}) -> hornbeam_hooks_table:is_served(Path);
is_here({function, Name}) -> hornbeam_functions:is_registered(Name).
