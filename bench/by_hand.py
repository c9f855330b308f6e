"""The study as a good user writes it by hand: the peer of `adresponse run` in `bench/study.py`."""

from importlib.resources import files

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, mean_absolute_percentage_error, r2_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import MinMaxScaler

table = pd.read_csv(files("adresponse") / "data" / "tvmarketing.csv")
print(table.describe())
print(table.isna().sum())
print(table.corr())

X_train, X_test, y_train, y_test = train_test_split(table[["TV"]], table["Sales"], test_size=0.2, random_state=42)

mlflow.set_tracking_uri("sqlite:///mlflow.db")
mlflow.set_experiment("tv-marketing")
with mlflow.start_run() as run:
    search = GridSearchCV(
        Pipeline([("scale", MinMaxScaler()), ("regress", LinearRegression())]),
        {
            "regress__fit_intercept": [True, False],
            "regress__positive": [True, False],
            "regress__copy_X": [True, False],
        },
        cv=5,
        scoring="neg_root_mean_squared_error",
    )
    search.fit(X_train, y_train)
    predicted = search.predict(X_test)

    for name in table:
        fig, ax = plt.subplots()
        ax.hist(table[name], bins=20)
        ax.set_xlabel(name)
        mlflow.log_figure(fig, f"distribution_{name}.png")
    fig, ax = plt.subplots()
    ax.scatter(X_test["TV"], y_test)
    ax.plot(X_test["TV"], predicted, color="red")
    ax.set_xlabel("TV")
    ax.set_ylabel("Sales")
    mlflow.log_figure(fig, "fitted_line.png")

    mlflow.log_params(search.best_params_)
    mlflow.log_metrics(
        {
            "mae": mean_absolute_error(y_test, predicted),
            "rmse": root_mean_squared_error(y_test, predicted),
            "mape": mean_absolute_percentage_error(y_test, predicted),
            "r2": r2_score(y_test, predicted),
        }
    )
    info = mlflow.sklearn.log_model(
        search.best_estimator_,
        name="model",
        signature=infer_signature(X_train, search.predict(X_train)),
        input_example=X_train.head(3),
    )

version = mlflow.register_model(info.model_uri, "tv-marketing")
mlflow.MlflowClient().set_registered_model_alias("tv-marketing", "champion", version.version)
