%% SPDX-License-Identifier: Apache-2.0
%% @doc What a program on another machine asks for when it attaches itself, and whether it may have
%% it: PROTOCOL.md, section 2.2. Pure.
-module(hornbeam_attach_request).

-export([parse/2, is_welcome/2]).
-export_type([request/0, refusal/0]).

-include("hornbeam_wire.hrl").

-type request() :: {App :: binary(), hornbeam_session:session()}.
-type refusal() :: {refused, Name :: binary(), Text :: binary()}.

-define(MAX_THREADS, 1024).

%% @doc `From' is whom to answer; `Options' is the map of `attach'.
-spec parse({pid(), reference()}, map()) -> {ok, request()} | refusal().
parse(From, Options) ->
    Steps = [fun versions/2, fun kind/2, fun app/2, fun labels/2, fun threads/2],
    steps(Steps, Options, {<<>>, #{from => From, kind => client, labels => #{}, boot => #{}}}).

steps([], _, Request) ->
    {ok, Request};
steps([Step | Steps], Options, Request) ->
    case Step(Options, Request) of
        {refused, _, _} = Refusal -> Refusal;
        Next -> steps(Steps, Options, Next)
    end.

versions(#{<<"versions">> := [Min, Max]}, Request) when
    is_integer(Min), is_integer(Max), Min =< ?PROTOCOL_MAX, Max >= ?PROTOCOL_MIN
->
    Request;
versions(#{<<"versions">> := [Min, Max]}, _) when is_integer(Min), is_integer(Max) ->
    refuse(<<"version">>, [
        "the Python package hornbeam speaks protocol versions ", integer_to_list(Min), " to ",
        integer_to_list(Max), ", this node ", integer_to_list(?PROTOCOL_MIN), " to ",
        integer_to_list(?PROTOCOL_MAX), ": install the version that belongs to this node"
    ]);
versions(_, _) ->
    bad(<<"versions">>, "[Min, Max], integers").

kind(#{<<"kind">> := <<"worker">>}, Request) -> kind_is(worker, Request);
kind(#{<<"kind">> := <<"hooks">>}, Request) -> kind_is(hooks, Request);
kind(#{<<"kind">> := <<"client">>}, Request) -> kind_is(client, Request);
kind(_, _) -> bad(<<"kind">>, "\"worker\", \"hooks\" or \"client\"").

kind_is(Kind, {App, Session}) -> {App, Session#{kind := Kind}}.

app(#{<<"app">> := App}, {_, #{kind := worker} = Session}) when is_binary(App), App =/= <<>> ->
    %% No path of this machine means anything there.
    {App, Session#{boot := #{<<"pythonpath">> => []}}};
app(#{<<"app">> := Module}, {_, #{kind := hooks} = Session}) when
    is_binary(Module), Module =/= <<>>
->
    {Module, Session#{boot := #{<<"app">> => Module, <<"interface">> => <<"hooks">>}}};
app(_, {_, #{kind := client}} = Request) ->
    Request;
app(_, _) ->
    bad(<<"app">>, "a text: of a worker its application, of a provider of hooks its module").

labels(Options, {App, Session}) ->
    case hornbeam_labels:check(maps:get(<<"labels">>, Options, #{})) of
        {ok, Labels} ->
            {App, Session#{labels := Labels}};
        error ->
            bad(<<"labels">>, hornbeam_options_type:expected(labels))
    end.

%% A worker has as many as the application says.
threads(#{<<"threads">> := Threads}, {App, #{kind := hooks, boot := Boot} = Session}) when
    is_integer(Threads), Threads >= 1, Threads =< ?MAX_THREADS
->
    {App, Session#{boot := Boot#{<<"threads">> => Threads}}};
threads(#{<<"threads">> := _}, {_, #{kind := hooks}}) ->
    bad(<<"threads">>, ["an integer of 1 to ", integer_to_list(?MAX_THREADS)]);
threads(_, Request) ->
    Request.

bad(Key, Expected) ->
    refuse(<<"bad_options">>, ["expected for ", Key, " ", Expected]).

%% @doc Whether the application with this configuration takes such a worker.
-spec is_welcome(hornbeam_session:session(), map()) -> ok | refusal().
is_welcome(_, #{remote_workers := 0, app := App}) ->
    refuse(<<"not_enabled">>, [
        App, " takes no workers from other machines: set its option remote_workers"
    ]);
is_welcome(#{labels := Labels}, #{remote_labels := Wanted, app := App}) ->
    case hornbeam_labels:are_in(Wanted, Labels) of
        true ->
            ok;
        false ->
            refuse(<<"labels">>, [
                App, " takes workers with the labels ", hornbeam_labels:format(Wanted),
                " only, this one has: ", hornbeam_labels:format(Labels)
            ])
    end.

refuse(Name, Text) ->
    {refused, Name, iolist_to_binary(Text)}.
